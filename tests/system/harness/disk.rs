//! A disk whose power can be cut: a file system in a file.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system that is mounted from a file. Unmounted and deleted when dropped.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Holds the image and the place where it is mounted.
    folder: tempfile::TempDir,
}

impl Disk {
    /// Makes and mounts one of the kind `fs`: `ext4` or `xfs`.
    ///
    /// # Errors
    /// Why that cannot be done here.
    pub(crate) fn make(fs: &str) -> Result<Self, String> {
        let disk = Self {
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
        };
        // Cutting the power is an ioctl that only this program offers, also for ext4.
        run(Command::new("xfs_io").arg("-V"))?;
        std::fs::create_dir(disk.path()).map_err(|error| error.to_string())?;
        let image = std::fs::File::create(disk.image()).map_err(|error| error.to_string())?;
        // As small as XFS can be, and no block is used before it is written.
        image.set_len(320 << 20).map_err(|error| error.to_string())?;
        let force = if fs == "xfs" { "-f" } else { "-F" };
        run(Command::new(format!("mkfs.{fs}"))
            .args(["-q", force])
            .arg(disk.image()))?;
        disk.mount()?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn mount(&self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(self.image())
            .arg(self.path()))
    }

    /// The power goes: what no sync has made durable is lost, and everything fails from now on.
    pub(crate) fn cut(&self) {
        run(Command::new("xfs_io")
            .args(["-x", "-c", "shutdown"])
            .arg(self.path()))
        .unwrap();
    }

    /// The power is there again. Nobody may use the disk any more.
    pub(crate) fn power_on(&self) {
        run(Command::new("umount").arg(self.path())).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if is_mounted(&self.path()) {
            let _ = Command::new("umount").arg("-l").arg(self.path()).status();
        }
    }
}

/// A file system of its own that is soon full. Unmounted when dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Of so many bytes, or `None` where nothing can be mounted.
    pub(crate) fn mount(bytes: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(folder.path())
            .output()
            .is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Nothing can be written to it from here on, by root neither.
    pub(crate) fn make_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(self.path())).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn is_mounted(path: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

/// Runs a command to its end.
fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().to_owned();
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{program:?} failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{program:?} cannot be run: {error}")),
    }
}
