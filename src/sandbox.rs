//! stub
use crate::error::Failure;
use std::path::PathBuf;
pub struct Sandbox {
    pub endpoint: String,
}
pub struct Settings {
    pub folder: PathBuf,
    pub port: Option<u16>,
}
pub async fn start(_: &Settings, _: &dyn Fn(&str)) -> Result<Sandbox, Failure> {
    Err(Failure::usage("stub"))
}
pub async fn stop(_: &Settings) -> Result<bool, Failure> {
    Err(Failure::usage("stub"))
}
pub async fn status(_: &Settings) -> Result<Option<Sandbox>, Failure> {
    Err(Failure::usage("stub"))
}
