//! Fetches what the real parts are made of, once: Kafka and the registry through Maven, the
//! Python client through pip, all under `target/`. The versions are pinned in
//! `tests/broker/pom.xml` and `tests/interop/requirements.txt`.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

pub(crate) fn crate_dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn target_dir() -> &'static Path {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().unwrap_or(tmp)
}

/// Where brokers keep their data while they run.
pub(crate) fn temporary_dir(prefix: &str) -> Result<tempfile::TempDir, String> {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    fs::create_dir_all(parent).map_err(|e| format!("{}: {e}", parent.display()))?;
    tempfile::Builder::new().prefix(prefix).tempdir_in(parent).map_err(|e| e.to_string())
}

/// A loopback port that is free now. Below the range that outgoing connections take theirs from,
/// so that a broker that was killed finds its own port free again.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(15_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The value of a property of the POM, such as `kafka.version`.
fn pinned(property: &str) -> String {
    let pom = include_str!("../../broker/pom.xml");
    let value = pom.split_once(&format!("<{property}>")).and_then(|(_, rest)| rest.split_once('<'));
    value.map(|(value, _)| value.to_owned()).unwrap_or_else(|| panic!("{property} is not pinned"))
}

pub(crate) fn kafka_version() -> String {
    pinned("kafka.version")
}

pub(crate) fn registry_version() -> String {
    pinned("apicurio.version")
}

/// Makes sure that the tools are there; the error is the one line to run.
pub(crate) fn tools(names: &[&str]) -> Result<(), String> {
    run(Command::new("sh").arg(crate_dir().join("tests/tools.sh")).args(names))
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(format!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&text).trim()))
}

/// The folder `target/NAME/<hash of what is pinned>`, filled by `fill` the first time. Two test
/// runs at once fill it once; one that was cut off halfway leaves nothing that looks finished.
fn cached(
    name: &str,
    pinned: &str,
    fill: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let explain = |e: std::io::Error| format!("target/{name}: {e}");
    let parent = target_dir().join(name);
    fs::create_dir_all(&parent).map_err(explain)?;
    let lock = File::create(parent.join(".lock")).map_err(explain)?;
    lock.lock().map_err(explain)?;

    let hash = hex::encode(Sha256::digest(pinned));
    let folder = parent.join(hash.get(..16).unwrap_or(&hash));
    let done = folder.join(".complete");
    if !done.exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(explain)?;
        }
        fs::create_dir_all(&folder).map_err(explain)?;
        fill(&folder)?;
        File::create(done).map_err(explain)?;
    }
    Ok(folder)
}

/// The folder that holds `kafka/*.jar` and `registry/`.
pub(crate) fn java_parts() -> Result<PathBuf, String> {
    tools(&["java"])?;
    let pom = crate_dir().join("tests/broker/pom.xml");
    cached("parts", include_str!("../../broker/pom.xml"), |folder| {
        tools(&["maven"])?;
        eprintln!("fetching Kafka {} and Apicurio {}", kafka_version(), registry_version());
        let parts = format!("-Dparts={}", folder.display());
        run(Command::new("mvn")
            .args(["-B", "-q", "-f"])
            .arg(&pom)
            .args(["process-resources", &parts]))
    })
}

/// The folder that holds `classes/` and `libs/` of `examples/java`, built as its pom.xml says.
pub(crate) fn java_examples() -> Result<PathBuf, String> {
    let pom = crate_dir().join("examples/java/pom.xml");
    let sources = [
        include_str!("../../../examples/java/pom.xml"),
        include_str!("../../../examples/java/src/main/java/ReadStock.java"),
        include_str!("../../../examples/java/src/main/java/CreateOrder.java"),
        include_str!("../../../examples/java/src/main/java/CreateOrderAvro.java"),
        include_str!("../../../examples/java/src/main/resources/simplelogger.properties"),
        include_str!("../../../schemas/wms.commands.CreateOrder.avsc"),
    ];
    cached("examples", &sources.concat(), |folder| {
        tools(&["jdk", "maven"])?;
        eprintln!("building the examples in Java");
        let build = format!("-Dbuild.folder={}", folder.display());
        run(Command::new("mvn").args(["-B", "-q", "-f"]).arg(&pom).args(["compile", &build]))
    })
}

/// The Python of a virtual environment that has Confluent's client.
pub(crate) fn python() -> Result<PathBuf, String> {
    tools(&["python"])?;
    let requirements = crate_dir().join("tests/interop/requirements.txt");
    let folder = cached("python", include_str!("../../interop/requirements.txt"), |folder| {
        eprintln!("installing Confluent's Python client");
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        run(Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--no-input", "--requirement"])
            .arg(&requirements))
    })?;
    Ok(folder.join("bin/python"))
}

/// The last lines of a log, for a message that says why something did not start.
pub(crate) fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(40)..).unwrap_or_default().join("\n")
}
