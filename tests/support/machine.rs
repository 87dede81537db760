//! Virtual machines: one at a time, and what they say of themselves (tests/overlay) on their console.

use std::fs::File;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{bake, project, run};

/// Two machines at once would each take twice as long, and some would miss their time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// The right to run a machine, among the threads of this process and among processes.
pub struct Turn {
    _thread: MutexGuard<'static, ()>,
    _process: File,
}

impl Turn {
    /// Waits for it.
    pub fn take() -> Self {
        // A test that failed during its turn does not concern the others.
        let thread = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let path = project("target/tests/machine.lock");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let process = File::create(path).unwrap();
        process.lock().unwrap();
        Self { _thread: thread, _process: process }
    }
}

/// What a machine wrote on its console.
pub struct Console(pub String);

impl Console {
    /// What the machine reported under this key.
    pub fn fact(&self, key: &str) -> &str {
        let prefix = format!("bake-test: {key}=");
        let mut facts = self.0.lines().filter_map(|line| line.trim_end().strip_prefix(&prefix));
        facts.next().unwrap_or_else(|| panic!("no `{key}` on the console:\n{}", self.0))
    }

    /// The line in which the product's unit said with which role it ran.
    pub fn product(&self) -> &str {
        let line = self.0.lines().find_map(|line| line.find("bake-demo: ").map(|at| line[at..].trim_end()));
        line.unwrap_or_else(|| panic!("the product said nothing:\n{}", self.0))
    }

    /// Everything came up, and the product with this role, as a user of its own, for the given time.
    pub fn runs_as(&self, role: &str, starts: u32) {
        assert_eq!(self.fact("failed"), "", "units failed:\n{}", self.0);
        assert_eq!(self.fact("state"), "running", "{}", self.0);
        let expected =
            format!("bake-demo: role={role} unit=dcos-hello host-ready user=dcos_hello starts={starts}");
        assert_eq!(self.product(), expected);
        assert_eq!(self.0.matches("bake-demo: ").count(), 1, "other roles ran too:\n{}", self.0);
    }
}

/// Boots an image until it has reported, and switches it off as a cable would.
pub fn boot(image: &Path, arguments: &[&str]) -> Console {
    start(image, 600, &[arguments, &["--expect", r"bake-test: done=\d"]].concat())
}

/// Boots an image, lets it report and shut down.
pub fn boot_and_shut_down(image: &Path, arguments: &[&str]) -> Console {
    start(image, 600, &[arguments, &["--credential", "bake.test=poweroff"]].concat())
}

/// Boots an image whose machine is told to do what takes long, and to shut down.
pub fn boot_long(image: &Path, arguments: &[&str]) -> Console {
    start(image, 3000, arguments)
}

/// Boots an image until this is on its console.
pub fn shows(image: &Path, arguments: &[&str], expected: &str) -> Console {
    start(image, 600, &[arguments, &["--expect", expected]].concat())
}

/// A machine that does not start: it shows `why`, and no kernel.
pub fn refused(image: &Path, arguments: &[&str], why: &str) {
    let console = shows(image, arguments, why);
    assert!(!console.0.contains("Linux version"), "{}", console.0);
}

fn start(image: &Path, seconds: u32, arguments: &[&str]) -> Console {
    let _turn = Turn::take();
    let mut command = bake();
    Console(run(command.arg("boot").arg(image).args(["--timeout", &seconds.to_string()]).args(arguments)))
}
