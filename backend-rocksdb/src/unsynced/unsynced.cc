// A file system that never waits for the disk: what it writes is with the operating system, and safe from a crash of the process, but not from one of
// the machine. Everything else is done by the default file system.

#include <memory>
#include <string>

#include "rocksdb/env.h"
#include "rocksdb/file_system.h"
#include "rocksdb/utilities/object_registry.h"

namespace {

using namespace ROCKSDB_NAMESPACE;

class UnsyncedFile : public FSWritableFileOwnerWrapper {
 public:
  using FSWritableFileOwnerWrapper::FSWritableFileOwnerWrapper;

  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&,
                     IODebugContext*) override {
    return IOStatus::OK();
  }
};

class UnsyncedDirectory : public FSDirectoryWrapper {
 public:
  using FSDirectoryWrapper::FSDirectoryWrapper;

  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  IOStatus FsyncWithDirOptions(const IOOptions&, IODebugContext*,
                               const DirFsyncOptions&) override {
    return IOStatus::OK();
  }
};

class UnsyncedFileSystem : public FileSystemWrapper {
 public:
  UnsyncedFileSystem() : FileSystemWrapper(FileSystem::Default()) {}

  const char* Name() const override { return "MillpondUnsyncedFileSystem"; }

  IOStatus NewWritableFile(const std::string& name, const FileOptions& options,
                           std::unique_ptr<FSWritableFile>* file,
                           IODebugContext* debug) override {
    return Wrap(file, target()->NewWritableFile(name, options, file, debug));
  }
  IOStatus ReopenWritableFile(const std::string& name,
                              const FileOptions& options,
                              std::unique_ptr<FSWritableFile>* file,
                              IODebugContext* debug) override {
    return Wrap(file, target()->ReopenWritableFile(name, options, file, debug));
  }
  IOStatus ReuseWritableFile(const std::string& name,
                             const std::string& old_name,
                             const FileOptions& options,
                             std::unique_ptr<FSWritableFile>* file,
                             IODebugContext* debug) override {
    return Wrap(file, target()->ReuseWritableFile(name, old_name, options, file,
                                                  debug));
  }
  IOStatus NewDirectory(const std::string& name, const IOOptions& options,
                        std::unique_ptr<FSDirectory>* directory,
                        IODebugContext* debug) override {
    IOStatus status = target()->NewDirectory(name, options, directory, debug);
    if (status.ok()) {
      *directory = std::make_unique<UnsyncedDirectory>(std::move(*directory));
    }
    return status;
  }
  IOStatus SyncFile(const std::string&, const FileOptions&, const IOOptions&,
                    bool, IODebugContext*) override {
    return IOStatus::OK();
  }

 private:
  static IOStatus Wrap(std::unique_ptr<FSWritableFile>* file, IOStatus status) {
    if (status.ok()) {
      *file = std::make_unique<UnsyncedFile>(std::move(*file));
    }
    return status;
  }
};

}  // namespace

// Lets options ask for an environment with this file system: `env=` and `name`. To be called once.
extern "C" void millpond_register_unsynced(const char* name) {
  // As RocksDB's own environment it is there until the process ends, since threads of it may be.
  static Env* const env =
      NewCompositeEnv(std::make_shared<UnsyncedFileSystem>()).release();
  ObjectLibrary::Default()->AddFactory<Env>(
      name, [](const std::string&, std::unique_ptr<Env>*, std::string*) {
        return env;
      });
}
