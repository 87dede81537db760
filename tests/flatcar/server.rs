//! A web server on this machine's loopback.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Serves a directory; ends with the value.
pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    /// Serves a directory that exists by now.
    pub fn new(directory: &Path) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let mut command = Command::new("python3");
        command.args(["-m", "http.server", "--bind", "127.0.0.1", "--directory"]).arg(directory);
        command.arg(port.to_string()).stdout(Stdio::null()).stderr(Stdio::null());
        let server = Self { child: command.spawn().unwrap(), port };
        let end = Instant::now() + Duration::from_mins(1);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "the web server does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Where it serves on this machine, or on the machine of this address.
    pub fn url(&self, address: &str) -> String {
        format!("http://{address}:{}/", self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
