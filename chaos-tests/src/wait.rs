//! Waiting for an event, always with a deadline.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::watch;

/// Pause between two looks at a condition that nobody announces.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Asks `probe` until it answers `Ok`; past `within` it fails with the last reason given.
///
/// An answer that itself takes longer than what is left counts as none, so a hung probe cannot
/// stretch the wait.
pub async fn until<T, F, Fut>(what: &str, within: Duration, mut probe: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<T>>,
{
    let started = Instant::now();
    let mut last = String::from("no answer to the first question");
    while let Some(left) = within.checked_sub(started.elapsed()) {
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(reason)) => last = format!("{reason:#}"),
            Err(_) => break,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    anyhow::bail!(
        "waited {:.1} s for {what}; last: {last}",
        within.as_secs_f64()
    )
}

/// As [`until`], for a condition that needs no `await`.
pub async fn until_true(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> bool,
) -> anyhow::Result<()> {
    until(what, within, || {
        let holds = condition();
        async move {
            anyhow::ensure!(holds, "not yet");
            Ok(())
        }
    })
    .await
}

/// True for a client that was told to stop, or whose owner is gone.
pub fn is_over(stopped: &watch::Receiver<bool>) -> bool {
    *stopped.borrow() || stopped.has_changed().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_hung_probe_does_not_stretch_the_wait() {
        let started = Instant::now();
        let answer: anyhow::Result<()> = until("nothing", Duration::from_millis(200), || {
            std::future::pending()
        })
        .await;
        assert!(answer.is_err());
        assert!(started.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_client_without_an_owner_ends() {
        let (stop, stopped) = watch::channel(false);
        assert!(!is_over(&stopped));
        stop.send_replace(true);
        assert!(is_over(&stopped));
        let (stop, stopped) = watch::channel(false);
        drop(stop);
        assert!(is_over(&stopped));
    }

    #[tokio::test]
    async fn the_last_reason_is_told() {
        let answer: anyhow::Result<()> = until("rain", Duration::from_millis(60), || async {
            anyhow::bail!("dry")
        })
        .await;
        let text = answer
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(text.contains("rain") && text.contains("dry"), "{text}");
    }
}
