//! What the agent tells, or its queue where it is stopped.

use std::path::Path;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};

use super::super::{ConfigFile, ControlAt, Failure, IntakeAt, queue, status, verify};
use crate::config::{self, Surroundings};

/// See the module.
pub(super) struct Agent {
    intake: IntakeAt,
    control: ControlAt,
}

impl Agent {
    pub(super) fn new(file: &ConfigFile, socket: Option<&Path>, control: Option<&Path>) -> Self {
        let intake = IntakeAt { file: file.clone(), socket: socket.map(Path::to_owned) };
        let control = ControlAt { file: file.clone(), control: control.map(Path::to_owned) };
        Self { intake, control }
    }

    /// The agent's process, as the kernel tells of its socket; where a service manager made that, it
    /// is the manager's.
    pub(super) async fn pid(&self) -> Option<i32> {
        let listen = self.control.file.listen();
        let path = self.control.control.clone().unwrap_or(listen.control);
        UnixStream::connect(path).await.ok()?.peer_cred().ok()?.pid()
    }

    pub(super) async fn status(&self) -> Result<String, String> {
        status::fetch(&self.intake).await.map_err(words)
    }

    pub(super) async fn queue(&self) -> Result<String, String> {
        let mut client = self.control.look().await.map_err(words)?;
        let lanes = queue::lanes(&mut client).await.map_err(words)?;
        Ok(super::super::output::json(&lanes))
    }

    pub(super) async fn verify(&self) -> Result<String, String> {
        let mut client = self.control.look().await.map_err(words)?;
        let names = queue::names(&mut client).await.map_err(words)?;
        let found = verify::find(&mut client, names).await.map_err(words)?;
        Ok(super::super::output::json(&found))
    }

    /// From the address that Prometheus reads.
    pub(super) async fn metrics(&self) -> Result<String, String> {
        let loaded = config::load(&self.control.file.config, &Surroundings::of_process());
        let (config, _) = loaded.map_err(|_| "the configuration is faulty: see check.txt")?;
        let admin = config.listen.admin.ok_or("there is no [listen.admin]: see status.json")?;
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", admin.address);
        let stream = TcpStream::connect(admin.address).await.map_err(|e| failed(&e))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(&e))?;
        tokio::spawn(async move { drop(connection.await) });
        let mut request = http::Request::get("/metrics");
        request = request.header(http::header::HOST, admin.address.to_string());
        if let Some(token) = &admin.token {
            let bearer = format!("Bearer {}", token.reveal());
            request = request.header(http::header::AUTHORIZATION, bearer);
        }
        let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|e| failed(&e))?;
        let answer = sender.send_request(request).await.map_err(|e| failed(&e))?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|e| failed(&e))?.to_bytes();
        match status.is_success() {
            true => Ok(String::from_utf8_lossy(&body).into_owned()),
            false => Err(failed(&status)),
        }
    }
}

fn words(failure: Failure) -> String {
    failure.message
}
