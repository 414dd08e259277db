//! Flink, found by the environment, and the program that runs it on our workloads.

use super::CompareArgs;
use crate::report::progress;
use millpond_engine::{Error, ErrorKind, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Flink is: the folder that has its jars in `lib`.
pub(crate) const HOME: &str = "FLINK_HOME";

const PROGRAM: &str = include_str!("../../flink/FlinkBench.java");
const LOGGING: &str = include_str!("../../flink/log4j2.properties");

/// How to get Flink, for whoever has none.
const INSTALL: &str = "the public Python package apache-flink-libraries carries its jars:\n  \
    python3 -m pip install --no-deps --target ~/flink apache-flink-libraries==2.3.0\n  \
    export FLINK_HOME=~/flink/pyflink";

/// What the JVM opens to Flink, as its own start scripts do.
const OPENED: [&str; 12] = [
    "java.lang",
    "java.net",
    "java.io",
    "java.nio",
    "sun.nio.ch",
    "java.lang.reflect",
    "java.text",
    "java.time",
    "java.util",
    "java.util.concurrent",
    "java.util.concurrent.atomic",
    "java.util.concurrent.locks",
];

/// Flink, ready to be run.
#[derive(Debug)]
pub(crate) struct Flink {
    java: String,
    class_path: String,
    build: tempfile::TempDir,
    heap: String,
    jvm_options: Vec<String>,
    version: String,
}

impl Flink {
    /// Finds Flink and compiles the program against it.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] with what to install, when Flink or a JDK is not there or the program does not compile.
    pub(crate) fn find(args: &CompareArgs) -> Result<Self> {
        let home = std::env::var_os(HOME).map(PathBuf::from).ok_or_else(|| {
            missing(&format!(
                "the environment variable {HOME} does not say where Flink is; {INSTALL}"
            ))
        })?;
        let jars = jars(&home.join("lib"))?;
        let names = jars.iter().map(|jar| name_of(jar));
        let mut versions =
            names.filter_map(|name| Some(name.strip_prefix("flink-dist-")?.strip_suffix(".jar")?.to_owned()));
        let Some(version) = versions.next_back() else {
            return Err(missing(&format!(
                "{} has no lib/flink-dist-*.jar, so {HOME} is not where Flink is; {INSTALL}",
                home.display()
            )));
        };
        let build = crate::scratch::new_folder(args.dir.as_deref())?;
        let jars: Vec<String> = jars.iter().map(|jar| jar.display().to_string()).collect();
        let class_path = jars.join(":");
        compile(build.path(), &class_path)?;
        Ok(Self {
            java: args.java.clone(),
            class_path: format!("{}:{class_path}", build.path().display()),
            build,
            heap: args.flink_heap.clone(),
            jvm_options: args
                .flink_jvm_options
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
            version,
        })
    }

    /// A run of the program with `arguments`.
    pub(crate) fn command(&self, arguments: &[String]) -> Command {
        let mut command = Command::new(&self.java);
        command
            .arg(format!("-Xms{}", self.heap))
            .arg(format!("-Xmx{}", self.heap))
            .args(&self.jvm_options);
        for package in OPENED {
            command.arg(format!("--add-opens=java.base/{package}=ALL-UNNAMED"));
        }
        for package in ["sun.net.util", "sun.security.util"] {
            command.arg(format!("--add-exports=java.base/{package}=ALL-UNNAMED"));
        }
        let build = self.build.path();
        command
            .arg(format!(
                "-Dlog4j.configurationFile={}",
                build.join("log4j2.properties").display()
            ))
            .arg(format!("-Dflinkbench.log={}", build.join("last.log").display()))
            .arg("-cp")
            .arg(&self.class_path)
            .arg("FlinkBench")
            .args(arguments);
        command
    }

    /// What it is, for the results.
    pub(crate) fn description(&self) -> String {
        let options = self.jvm_options.join(" ");
        format!(
            "Flink {}, {}, `-Xms{2} -Xmx{2} {options}`; object reuse, no generic types; RocksDB with bloom filters in managed memory",
            self.version,
            self.java_version(),
            self.heap
        )
    }

    /// What `java -version` says first.
    fn java_version(&self) -> String {
        let output = Command::new(&self.java).arg("-version").output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        text.ok()
            .and_then(|text| text.lines().next().map(str::to_owned))
            .unwrap_or_else(|| self.java.clone())
    }
}

/// The jars that DataStream jobs need; those of tables would only slow the start.
fn jars(lib: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(lib).map_err(|error| {
        missing(&format!(
            "{} cannot be listed, so {HOME} is not where Flink is; {INSTALL}",
            lib.display()
        ))
        .with_source(error)
    })?;
    let mut jars: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    jars.retain(|jar| {
        let name = name_of(jar);
        let is_needed = ["flink-dist-", "flink-connector-files-", "log4j-"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        is_needed && name.ends_with(".jar") && !name.starts_with("log4j-layout")
    });
    jars.sort();
    Ok(jars)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

fn compile(build: &Path, class_path: &str) -> Result<()> {
    progress("compiling FlinkBench.java");
    let source = build.join("FlinkBench.java");
    let written =
        fs::write(&source, PROGRAM).and_then(|()| fs::write(build.join("log4j2.properties"), LOGGING));
    written.map_err(|error| missing(&format!("{} cannot be written", build.display())).with_source(error))?;
    let output = Command::new("javac")
        .args([
            "-nowarn",
            "-Xlint:none",
            "-encoding",
            "UTF-8",
            "-cp",
            class_path,
            "-d",
        ])
        .arg(build)
        .arg(&source)
        .output()
        .map_err(|error| {
            missing("javac cannot be run: a JDK of version 17 or later is needed").with_source(error)
        })?;
    if output.status.success() {
        return Ok(());
    }
    Err(missing(&format!(
        "FlinkBench.java does not compile against the jars of {HOME}: {}",
        String::from_utf8_lossy(&output.stderr)
    )))
}

fn missing(text: &str) -> Error {
    Error::new(ErrorKind::Configuration, text.to_owned())
}
