//! selftest and three golden cases in headless Chromium, on its software adapter of WebGPU:
//!
//! ```text
//! cargo run --release -p gradus-browser -- [FILTER]
//! ```
//!
//! Builds the page for wasm32, serves it on 127.0.0.1, prints what it says, and fails unless it says that nothing failed: an
//! entry of selftest, a golden case, a panic, or an error of the device that no call returned. `FILTER` runs only what has it in
//! its name. The browser is `CHROMIUM`, else `chromium` or what else it is called; `GRADUS_BROWSER_SECONDS` ends it (3,600).

#![cfg(not(target_arch = "wasm32"))]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;
use std::{env, fs, thread};

use wasm_bindgen_cli_support::Bindgen;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const TARGET: &str = "wasm32-unknown-unknown";

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool> {
    let filter = env::args().nth(1).unwrap_or_default();
    let page = build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = format!("http://{}/?filter={}", listener.local_addr()?, encoded(&filter));
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (page, sender) = (page.clone(), sender.clone());
            // a connection that breaks is the browser's to make again
            thread::spawn(move || serve(stream, &page, &sender).ok());
        }
    });
    let profile = env::temp_dir().join(format!("gradus-browser-{}", std::process::id()));
    let mut browser = Browser { child: open(&address, &profile)?, profile };
    let seconds: u64 = env::var("GRADUS_BROWSER_SECONDS").ok().map_or(Ok(3600), |text| text.parse())?;
    for _ in 0..seconds {
        match receiver.recv_timeout(Duration::from_secs(1)) {
            Ok(passed) => return Ok(passed),
            Err(RecvTimeoutError::Disconnected) => return Err("the server ended".into()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(status) = browser.child.try_wait()? {
            return Err(format!("the browser ended before the page did: {status}").into());
        }
    }
    Err(format!("the page took more than {seconds} s").into())
}

/// Builds the page, and returns the folder of its files.
fn build() -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // most of the time goes into the kernels, and none of them is compiled here
    let quick =
        ["--config", "profile.release.package.gradus.opt-level=1", "--config", "profile.release.package.gradus-browser.opt-level=1"];
    let arguments = ["build", "--release", "--lib", "--package", env!("CARGO_PKG_NAME"), "--target", TARGET];
    if !Command::new(cargo).args(quick).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).status()?.success() {
        return Err(format!("the page could not be built; has rustup the target {TARGET}?").into());
    }
    // of `target/release/gradus-browser`
    let executable = env::current_exe()?;
    let target = executable.parent().and_then(Path::parent).ok_or("no target folder")?.join(TARGET).join("release");
    let page = target.join("gradus-browser-page");
    let mut bindgen = Bindgen::new();
    bindgen.input_path(target.join("page.wasm")).web(true)?.typescript(false);
    bindgen.generate(&page)?;
    for name in ["index.html", "browser.js"] {
        fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("page").join(name), page.join(name))?;
    }
    Ok(page)
}

/// For a URL.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// A browser that ends with this program, and leaves nothing.
struct Browser {
    child: Child,
    profile: PathBuf,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // it may have ended, and its folder with it
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.profile);
    }
}

fn open(address: &str, profile: &Path) -> Result<Child> {
    let names = match env::var("CHROMIUM") {
        Ok(name) => vec![name],
        Err(_) => ["chromium", "chromium-browser", "google-chrome", "chrome"].map(String::from).to_vec(),
    };
    for name in &names {
        let mut command = Command::new(name);
        // its sandbox does not work for root; nothing but the page on this machine is opened
        command.args(["--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking"]);
        command.args(["--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]);
        // its software adapter
        command.args(["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"]);
        // a kernel may take minutes on a busy machine
        command.args(["--disable-gpu-watchdog", "--disable-hang-monitor"]);
        command.arg(format!("--user-data-dir={}", profile.display())).arg(address);
        match command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            spawned => return Ok(spawned?),
        }
    }
    Err(format!("no browser: none of {names:?} is installed; CHROMIUM may name one").into())
}

/// Answers one request.
fn serve(mut stream: TcpStream, page: &Path, sender: &Sender<bool>) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut bytes = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            bytes = value.trim().parse()?;
        }
    }
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body)?;
    let mut parts = first.split_whitespace();
    let (method, path) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let path = path.split('?').next().unwrap_or_default();
    let (status, kind, answer) = match (method, path) {
        ("POST", "/lines") => {
            print!("{}", String::from_utf8_lossy(&body));
            std::io::stdout().flush()?;
            ("200 OK", "text/plain", Vec::new())
        }
        ("POST", "/end") => {
            sender.send(body == b"0")?;
            ("200 OK", "text/plain", Vec::new())
        }
        ("GET", "/") => ("200 OK", "text/html", fs::read(page.join("index.html"))?),
        ("GET", "/browser.js" | "/page.js") => ("200 OK", "text/javascript", fs::read(page.join(&path[1..]))?),
        ("GET", "/page_bg.wasm") => ("200 OK", "application/wasm", fs::read(page.join(&path[1..]))?),
        _ => ("404 Not Found", "text/plain", Vec::new()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", answer.len())?;
    Ok(stream.write_all(&answer)?)
}
