//! Health checks of apps: asks again and again, and says when an instance must be killed.
//!
//! HTTP and TCP checks on loopback; what a failing check leads to is the caller's. Called for each running instance.

use super::app::{HealthCheck, Protocol};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// Runs one check for as long as the instance may live, and returns why it must be killed.
///
/// `report` gets each result that counts: a failure before the first success counts only after the grace period.
pub async fn until_unhealthy(
    client: reqwest::Client,
    check: HealthCheck,
    port: u16,
    report: impl Fn(bool) + Send,
) -> String {
    let start = Instant::now();
    let grace = Duration::from_secs(check.grace_period_seconds);
    let mut passed_once = false;
    let mut failures = 0;
    sleep(Duration::from_secs(check.delay_seconds)).await;
    loop {
        match ask(&client, &check, port).await {
            Ok(()) => {
                (passed_once, failures) = (true, 0);
                report(true);
            }
            Err(reason) if passed_once || start.elapsed() >= grace => {
                failures += 1;
                report(false);
                if check.max_consecutive_failures > 0 && failures >= check.max_consecutive_failures {
                    return format!("Health check failed {failures} times in a row: {reason}");
                }
            }
            Err(_) => {}
        }
        sleep(Duration::from_secs(check.interval_seconds)).await;
    }
}

/// One check.
async fn ask(client: &reqwest::Client, check: &HealthCheck, port: u16) -> Result<(), String> {
    let limit = Duration::from_secs(check.timeout_seconds);
    let attempt = async {
        match check.protocol {
            Protocol::Http | Protocol::MesosHttp => {
                let path = check.path.trim_start_matches('/');
                let url = format!("http://127.0.0.1:{port}/{path}");
                let status = client.get(&url).send().await.map_err(|e| e.to_string())?.status().as_u16();
                if (200..400).contains(&status) { Ok(()) } else { Err(format!("{url} answered {status}")) }
            }
            Protocol::Tcp | Protocol::MesosTcp => tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .map(drop)
                .map_err(|e| format!("port {port}: {e}")),
        }
    };
    timeout(limit, attempt).await.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
}
