//! What is printed when a service is deployed: its addresses, and for Airflow the first user and where the password is.
//!
//! The password itself is only shown on a terminal, so that it gets into no log. Called by `dagpkg up`.

use super::super::progress::Progress;
use super::watch::Service;
use crate::wire::vip::loopback_address;
use serde_json::{Map, Value};
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

/// Prints how to reach the service, on stdout.
pub async fn print(
    service: &Service<'_>,
    name: &str,
    options: &Map<String, Value>,
    secrets: &Path,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut text = String::from("\n");
    for endpoint in endpoints(service).await {
        // writing to a String cannot fail
        let _ = writeln!(text, "  {endpoint}");
    }
    if let Some(user) = options.get("airflow").and_then(|a| a["admin_user"].as_str()) {
        let file = secrets.join(name).join("admin-password");
        let _ = writeln!(text, "  user:       {user}");
        let password = std::fs::read_to_string(&file).ok().filter(|_| std::io::stdout().is_terminal());
        let shown = password.map_or(String::new(), |password| format!("{}   also ", password.trim()));
        let _ = writeln!(text, "  password:   {shown}in {}", file.display());
    }
    let _ = writeln!(text, "  service:    {}", service.url);
    progress.clear();
    crate::cli::print(&text)?;
    if progress.is_terminal() {
        progress.print("\nCtrl-C stops everything and keeps the data.\n");
    }
    Ok(())
}

/// The advertised ports, each by its virtual address if it has one, as this machine reaches it.
async fn endpoints(service: &Service<'_>) -> Vec<String> {
    let get = async |path: &str| -> Option<Value> {
        let url = format!("{}{path}", service.url);
        service.client.get(url).timeout(Duration::from_secs(5)).send().await.ok()?.json().await.ok()
    };
    let names = get("/v1/endpoints").await.unwrap_or_default();
    let mut lines = Vec::new();
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(endpoint) = get(&format!("/v1/endpoints/{name}")).await else { continue };
        let address = match endpoint["vip"].as_str().and_then(|vip| vip.rsplit_once(':')) {
            Some((host, port)) => format!("{}:{port}", loopback_address(host)),
            None => endpoint["address"][0].as_str().unwrap_or_default().to_owned(),
        };
        // names say what they are: Airflow's page is called webserver
        let scheme = if name.contains("web") || name.contains("http") { "http://" } else { "" };
        lines.push(format!("{:<11} {scheme}{address}", format!("{name}:")));
    }
    lines
}
