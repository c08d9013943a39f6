//! Lists the tests, runs them, and keeps the real parts that they share.

use std::{
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};

use super::{backend::TestEnv, kafka::Broker, parts, python::Python, registry::Registry};

/// No test may hang: this is far above what any takes.
const TEST_TIMEOUT: Duration = Duration::from_secs(180);

/// The same, unless `WMS_TEST_TIMEOUT` says otherwise in seconds, for drills made longer.
fn test_timeout() -> Duration {
    let seconds = std::env::var("WMS_TEST_TIMEOUT").ok();
    seconds.and_then(|seconds| seconds.parse().ok()).map_or(TEST_TIMEOUT, Duration::from_secs)
}

/// A part that is started when first asked for. A failed start is not tried again.
type Lazy<T> = Mutex<Option<Result<T, String>>>;

fn started<T: Clone>(
    slot: &Lazy<T>,
    start: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    slot.get_or_insert_with(start).clone()
}

fn stop<T>(slot: &Lazy<T>) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// The real parts, shared by all tests of `kafka::`, and what has run so far.
pub(crate) struct Shared {
    foreign_kafka: Option<String>,
    broker: Lazy<Arc<Broker>>,
    registry: Lazy<Arc<Registry>>,
    python: Lazy<Python>,
    on_mock: AtomicUsize,
    on_kafka: AtomicUsize,
}

impl Shared {
    /// The bootstrap servers of `KAFKA_BOOTSTRAP_SERVERS`, else of a broker started here.
    pub(crate) fn kafka(&self) -> Result<String, String> {
        if let Some(servers) = &self.foreign_kafka {
            return Ok(servers.clone());
        }
        let broker = started(&self.broker, || Broker::start().map(Arc::new))?;
        Ok(broker.bootstrap_servers())
    }

    pub(crate) fn is_foreign_kafka(&self) -> bool {
        self.foreign_kafka.is_some()
    }

    pub(crate) fn registry(&self) -> Result<Arc<Registry>, String> {
        started(&self.registry, || Registry::start().map(Arc::new))
    }

    pub(crate) fn python(&self) -> Result<Python, String> {
        started(&self.python, Python::prepare)
    }

    /// What ran on what, in one line.
    fn summary(&self) -> String {
        let count = |n: &AtomicUsize| match n.load(Ordering::Relaxed) {
            1 => "1 test".to_owned(),
            n => format!("{n} tests"),
        };
        let ran = |n: &AtomicUsize| n.load(Ordering::Relaxed) > 0;
        let mut what = Vec::new();
        if ran(&self.on_mock) {
            what.push(format!("{} on librdkafka's mock cluster", count(&self.on_mock)));
        }
        if ran(&self.on_kafka) {
            let kafka = match &self.foreign_kafka {
                Some(servers) => format!("the Kafka of KAFKA_BOOTSTRAP_SERVERS ({servers})"),
                None => format!("Apache Kafka {}", parts::kafka_version()),
            };
            let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
            let registry = match &*registry {
                Some(Ok(_)) => format!(" with Apicurio Registry {}", parts::registry_version()),
                _ => String::new(),
            };
            what.push(format!("{} on {kafka}{registry}", count(&self.on_kafka)));
        }
        let python = self.python.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Ok(python)) = &*python {
            what.push(format!("interop with {}", python.versions));
        }
        if what.is_empty() { "no test ran".to_owned() } else { what.join(", ") }
    }
}

/// The list of tests. `tests!` fills it.
pub(crate) struct Suite {
    trials: Vec<Trial>,
    shared: Arc<Shared>,
}

impl Suite {
    pub(crate) fn new() -> Self {
        let servers = std::env::var("KAFKA_BOOTSTRAP_SERVERS").ok();
        let shared = Shared {
            foreign_kafka: servers.filter(|servers| !servers.trim().is_empty()),
            broker: Lazy::default(),
            registry: Lazy::default(),
            python: Lazy::default(),
            on_mock: AtomicUsize::default(),
            on_kafka: AtomicUsize::default(),
        };
        Self { trials: Vec::new(), shared: Arc::new(shared) }
    }

    /// A test of `mock::` and of `kafka::`.
    pub(crate) fn both<T>(&mut self, name: &str, test: T)
    where
        T: AsyncFn(&TestEnv) + Copy + Send + 'static,
    {
        self.mock(name, test);
        self.kafka(name, test);
    }

    /// A test that makes the mock cluster do what a real broker cannot be made to do.
    pub(crate) fn mock<T>(&mut self, name: &str, test: T)
    where
        T: AsyncFn(&TestEnv) + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.trials.push(Trial::test(format!("mock::{name}"), move || {
            run(&TestEnv::mock(Arc::clone(&shared)), &test, test_timeout())?;
            shared.on_mock.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
    }

    /// A test that needs the real broker, the real registry or Python.
    pub(crate) fn kafka<T>(&mut self, name: &str, test: T)
    where
        T: AsyncFn(&TestEnv) + Send + 'static,
    {
        self.kafka_within(name, test_timeout(), test);
    }

    /// The same for one that may take longer than the others.
    pub(crate) fn kafka_within<T>(&mut self, name: &str, timeout: Duration, test: T)
    where
        T: AsyncFn(&TestEnv) + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.trials.push(Trial::test(format!("kafka::{name}"), move || {
            run(&TestEnv::kafka(Arc::clone(&shared))?, &test, timeout)?;
            shared.on_kafka.fetch_add(1, Ordering::Relaxed);
            Ok(())
        }));
    }

    pub(crate) fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        // What the connector logs, where somebody asks: RUST_LOG=debug.
        if std::env::var_os("RUST_LOG").is_some() {
            wms_connector::telemetry::install(wms_connector::telemetry::LogFormat::Text, "off");
        }
        // Most tests wait for a broker most of the time.
        arguments.test_threads = arguments.test_threads.or(Some(4));
        let listing = arguments.list;
        let conclusion = libtest_mimic::run(&arguments, self.trials);
        let summary = self.shared.summary();
        stop(&self.shared.broker);
        stop(&self.shared.registry);
        if !listing {
            println!("integration: {summary}");
        }
        conclusion.exit_code()
    }
}

fn run<T: AsyncFn(&TestEnv)>(env: &TestEnv, test: &T, timeout: Duration) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failed::from(e.to_string()))?;
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            // On the heap: the futures of whole scenarios are large.
            tokio::time::timeout(timeout, Box::pin(test(env))).await
        })
    }));
    runtime.block_on(env.clean_up());
    // Not by dropping it, which would wait for a poll that a failed test has left behind.
    runtime.shutdown_timeout(Duration::from_secs(5));
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(format!("not done after {timeout:?}").into()),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(text.unwrap_or_else(|| "panicked".to_owned()).into())
        }
    }
}

/// Registers the test functions of a module under their own names:
///
/// ```ignore
/// tests! {
///     both: round_trip, keys_stay_in_order;
///     mock: broker_refuses;
///     kafka: broker_is_killed;
/// }
///
/// async fn round_trip(env: &TestEnv) { … }
/// ```
///
/// gives the module `pub(crate) fn register(suite: &mut Suite)`, and the tests
/// `mock::MODULE::round_trip`, `kafka::MODULE::round_trip`, `mock::MODULE::broker_refuses`, ….
macro_rules! tests {
    ($($kind:ident: $($test:ident),+ $(,)?;)+) => {
        pub(crate) fn register(suite: &mut $crate::support::suite::Suite) {
            let module = module_path!().split_once("::").map_or("", |(_, module)| module);
            $($(suite.$kind(&format!("{module}::{}", stringify!($test)), $test);)+)+
        }
    };
}
pub(crate) use tests;
