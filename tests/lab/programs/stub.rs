//! A program that says it is an mcp-agent, and does not come up.
//!
//! What it says and does is decided when it is built: `STUB_VERSION`,
//! `STUB_SCHEMA`, and in `STUB_SERVER` how `server` behaves.

use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

const DATABASE: &str = "/srv/mcp/mcp.db";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["version", "--json"] => println!(
            "{{\"program\": \"mcp-agent\", \"version\": \"{}\", \"schema\": {}, \"arch\": \"{}\"}}",
            env!("STUB_VERSION"),
            env!("STUB_SCHEMA"),
            std::env::consts::ARCH
        ),
        ["server", ..] => serve(),
        others => println!("the stub was asked for {others:?}"),
    }
}

fn serve() {
    eprintln!("the stub is up to no good: {}", env!("STUB_SERVER"));
    match env!("STUB_SERVER") {
        "exit-1" => std::process::exit(1),
        // What clap says of arguments, and what no unit restarts.
        "exit-2" => std::process::exit(2),
        "abort" => std::process::abort(),
        "hang" => hang(),
        "ready-and-hang" => {
            let socket = std::env::var_os("NOTIFY_SOCKET").expect("systemd sets it");
            let notify = UnixDatagram::unbound().expect("a socket");
            notify.send_to(b"READY=1", socket).expect("systemd listens");
            hang()
        }
        "migrate" => {
            // The schema's number is at octet 60 of the file.
            let mut file = std::fs::OpenOptions::new().write(true).open(DATABASE).expect("ours");
            file.seek(SeekFrom::Start(60)).expect("a file");
            file.write_all(&99_u32.to_be_bytes()).expect("room");
            std::process::exit(1)
        }
        other => panic!("{other}"),
    }
}

fn hang() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}
