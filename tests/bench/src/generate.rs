//! Traffic that needs no C: a TCP stream, round trips, and a first packet.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::options::Traffic;

/// After so long without a packet none will come any more.
const PATIENCE: Duration = Duration::from_secs(10);
/// Round trips that are not counted.
const WARM_UP: u32 = 500;
/// How far apart the packets are of which the first is waited for.
const FIRST_EVERY: Duration = Duration::from_micros(500);

pub(crate) fn run(traffic: &Traffic) -> anyhow::Result<()> {
    match *traffic {
        Traffic::Receive { port } => receive(port),
        Traffic::Send { to, seconds } => send(to, Duration::from_secs_f64(seconds)),
        Traffic::PingPong { port, count } => ping_pong(port, count),
        Traffic::First { port } => first(port),
    }
}

fn receive(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    say("listening")?;
    let (mut stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut buffer = vec![0; 1 << 18];
    let mut bytes = stream.read(&mut buffer)?;
    let begin = Instant::now();
    let mut end = begin;
    loop {
        match stream
            .read(&mut buffer)
            .context("the stream stands still")?
        {
            0 => break,
            more => bytes += more,
        }
        end = Instant::now();
    }
    say(&format!("{bytes} {}", (end - begin).as_secs_f64()))
}

fn send(to: SocketAddr, duration: Duration) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let bytes = vec![b'x'; 1 << 17];
    let begin = Instant::now();
    while begin.elapsed() < duration {
        stream
            .write_all(&bytes)
            .context("the stream stands still")?;
    }
    stream.shutdown(Shutdown::Write)?;
    // The end of the other side: all has arrived.
    stream.set_read_timeout(Some(PATIENCE))?;
    let _ = stream.read(&mut [0])?;
    Ok(())
}

/// One thread has both ends, so that of all threads only the queue's has to be woken,
/// and this one by it.
fn ping_pong(port: u16, count: u32) -> anyhow::Result<()> {
    let (there, here) = (local(port)?, local(0)?);
    here.connect(there.local_addr()?)?;
    there.connect(here.local_addr()?)?;
    let mut buffer = [0; 64];
    let mut trip = || -> std::io::Result<u64> {
        let begin = Instant::now();
        here.send(&[b'x'; 64])?;
        there.recv(&mut buffer)?;
        there.send(&buffer)?;
        here.recv(&mut buffer)?;
        Ok(begin.elapsed().as_nanos() as u64)
    };
    for _ in 0..WARM_UP {
        trip()?;
    }
    let times = (0..count).map(|_| trip()).collect::<Result<Vec<_>, _>>();
    let mut times = times.context("a packet did not come back")?;
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    say(&format!("{} {}", at(0.5), at(0.99)))
}

fn first(port: u16) -> anyhow::Result<()> {
    let (there, here) = (local(port)?, local(0)?);
    there.set_nonblocking(true)?;
    say("sending")?;
    let begin = Instant::now();
    loop {
        here.send_to(b"x", there.local_addr()?)?;
        std::thread::sleep(FIRST_EVERY);
        if there.recv(&mut [0]).is_ok() {
            return say("arrived");
        }
        anyhow::ensure!(begin.elapsed() < PATIENCE * 3, "no packet arrived");
    }
}

fn local(port: u16) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn say(line: &str) -> anyhow::Result<()> {
    println!("{line}");
    Ok(std::io::stdout().flush()?)
}
