//! Tokens: renewed once for all, never lost, and asked of a person when nothing else helps.

use std::{sync::Arc, time::Duration};

use futures_util::future::{BoxFuture, join_all};

use super::support::*;
use crate::{
    api_client::*,
    domain::{Body, PlannedCall, TokenRefusal},
};

fn with_token(attempt: &Attempt<'_>) -> PlannedCall {
    let token = attempt.tokens.map_or("none", |tokens| tokens.access_token.expose());
    post(Body::Json(token.to_owned()))
}

fn renewable(life: Option<Duration>) -> Plain {
    let configured = Some(tokens("", Some("refresh-0")));
    Plain { tokens: Some(PlainTokens { configured, life }) }
}

fn started(base: &str, vendor: Plain, store: &Arc<MemoryTokenStore>) -> ApiClient {
    let store = Arc::clone(store) as Arc<dyn TokenStore>;
    client_with(base, vendor, ApiClientSettings::default(), store, Arc::default())
}

/// Gives `access-N refresh-N` with the N of the request.
fn giving(number: usize, text: &str) -> BoxFuture<'static, Reply> {
    let refresh = text.contains("/refresh") || text.contains("/exchange");
    Box::pin(async move {
        tokio::time::sleep(Duration::from_millis(20)).await;
        ok(&if refresh { format!("access-{number} refresh-{number}") } else { "code".to_owned() })
    })
}

#[tokio::test]
async fn fifty_callers_make_one_renewal() {
    let (base, seen) = serve(|number, text| giving(number, &text)).await;
    let client = started(&base, renewable(None), &Arc::default());
    let send = async || client.send(&account(), create(), with_token, soon()).await.unwrap();
    let sent = join_all((0..50).map(|_| send())).await;
    assert_eq!(seen.count("/refresh?secret=refresh-0"), 1);
    assert_eq!(seen.count("access-0"), 50);

    let used = sent[0].used.clone().unwrap();
    let name = account();
    let renewals = (0..50).map(|_| client.renew_after_refusal(&name, &used));
    assert!(join_all(renewals).await.iter().all(Result::is_ok));
    assert_eq!(seen.count("/refresh"), 2, "a refused token is renewed once");
    assert_ne!(send().await.used, Some(used));
}

#[tokio::test]
async fn a_renewal_given_up_by_its_caller_is_stored_all_the_same() {
    let (base, seen) = serve(|number, text| giving(number, &text)).await;
    let store = Arc::new(MemoryTokenStore::default());
    let client = started(&base, renewable(None), &store);
    let name = account();
    let call = client.send(&name, create(), with_token, soon());
    assert!(tokio::time::timeout(Duration::from_millis(10), call).await.is_err());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let stored = store.load(&account()).await.unwrap().unwrap();
    assert_eq!((stored.version, stored.state), (2, TokenState::Settled));
    assert_eq!(stored.current.refresh_token, Some(Secret::new("refresh-0")));
    assert_eq!(stored.previous, Some(tokens("", Some("refresh-0"))));
    assert_eq!(seen.count("/refresh"), 1);
}

#[tokio::test]
async fn after_a_lost_answer_the_same_refresh_token_is_tried_again() {
    let (base, seen) =
        serve(
            |number, text| {
                if number == 0 { Box::pin(async { (None, true) }) } else { giving(number, &text) }
            },
        )
        .await;
    let store = Arc::new(MemoryTokenStore::default());
    let client = started(&base, renewable(None), &store);
    let error = client.send(&account(), create(), with_token, soon()).await.unwrap_err();
    assert!(matches!(error, SendError::CircuitOpen { .. }), "{error:?}");
    let stored = store.load(&account()).await.unwrap().unwrap();
    assert_eq!(stored.state, TokenState::Refreshing);
    client.wait_until_open(&account(), create()).await;
    client.send(&account(), create(), with_token, soon()).await.unwrap();
    assert_eq!(seen.count("/refresh?secret=refresh-0"), 2);

    // A process that starts in between does the same.
    let again = Arc::new(MemoryTokenStore::default());
    let begun = StoredTokens { version: 1, ..stored };
    again.save(&account(), &begun).await.unwrap();
    let client = started(&base, renewable(None), &again);
    client.send(&account(), create(), with_token, soon()).await.unwrap();
    assert_eq!(seen.count("/refresh?secret=refresh-0"), 3);
}

#[tokio::test]
async fn a_refused_renewal_stops_the_account_until_a_person_authorises() {
    let (base, seen) = serve(|number, text| {
        if text.contains("secret=refresh-0") {
            Box::pin(async { ok("no") })
        } else {
            giving(number, &text)
        }
    })
    .await;
    let store = Arc::new(MemoryTokenStore::default());
    let client = started(&base, renewable(None), &store);
    for _ in 0..3 {
        let error = client.send(&account(), create(), with_token, soon()).await.unwrap_err();
        let SendError::Stopped { message } = &error else { panic!("{error:?}") };
        assert!(message.contains("wms-connector authorize --account a"), "{message}");
    }
    assert_eq!(seen.count("/refresh"), 1, "a refused token is not tried again");
    assert!(client.token_statuses()[0].1.needs_authorization);

    let one_time = Secret::new("one-time");
    client.authorize(&account(), "a@example.org", &one_time, None).await.unwrap();
    let sent = client.send(&account(), create(), with_token, soon()).await.unwrap();
    assert_eq!(sent.used.map(|used| used.access_token), Some(Secret::new("access-2")));
    assert!(!client.token_statuses()[0].1.needs_authorization);

    // A process that starts now finds them in the store, before the configuration's.
    let after = started(&base, renewable(None), &store);
    after.send(&account(), create(), with_token, soon()).await.unwrap();
    assert_eq!((seen.count("/authorize"), seen.count("/refresh")), (1, 1));
}

#[tokio::test]
async fn a_one_time_token_is_sent_once_whatever_happens() {
    let (base, seen) = serve(|_, _| Box::pin(async { (None, true) })).await;
    let vendor = || Plain { tokens: Some(PlainTokens::default()) };
    let client = started(&base, vendor(), &Arc::default());
    let one_time = Secret::new("one-time-secret");
    let error = client.authorize(&account(), "e", &one_time, Some("d")).await.unwrap_err();
    assert!(matches!(error, AuthorizeError::NoAnswer(_)), "{error:?}");
    assert!(!format!("{error:?}{error}").contains("one-time-secret"));
    assert_eq!(seen.texts().len(), 1);
    let error = client.send(&account(), create(), with_token, soon()).await.unwrap_err();
    assert!(matches!(error, SendError::NoTokens { .. }), "{error:?}");

    let (base, seen) = serve(|number, text| match text.contains("/exchange") {
        true if number == 1 => Box::pin(async { (None, true) }),
        true => Box::pin(async { ok("no") }),
        false => giving(number, &text),
    })
    .await;
    let client = started(&base, vendor(), &Arc::default());
    let error = client.authorize(&account(), "e", &one_time, None).await.unwrap_err();
    assert!(matches!(error, AuthorizeError::Refused(TokenRefusal::Refused { .. })), "{error:?}");
    assert_eq!((seen.count("/authorize"), seen.count("/exchange")), (1, 2));
}

#[tokio::test]
async fn a_fixed_token_that_is_refused_waits_for_a_person() {
    let (base, seen) = serve(|_, _| Box::pin(async { ok("{}") })).await;
    let configured = Some(tokens("fixed", None));
    let vendor = Plain { tokens: Some(PlainTokens { configured, life: None }) };
    let store = Arc::new(MemoryTokenStore::default());
    let client = started(&base, vendor, &store);
    let sent = client.send(&account(), create(), with_token, soon()).await.unwrap();
    let used = sent.used.clone().unwrap();
    client.report(&sent, Report::SessionExpired);
    let error = client.renew_after_refusal(&account(), &used).await.unwrap_err();
    assert!(matches!(error, SendError::Stopped { .. }), "{error:?}");
    assert_eq!(seen.texts().len(), 1);

    // New ones in the configuration are used, though the store knows the refused ones.
    let configured = Some(tokens("another", None));
    let vendor = Plain { tokens: Some(PlainTokens { configured, life: None }) };
    let client = started(&base, vendor, &store);
    client.send(&account(), create(), with_token, soon()).await.unwrap();
    assert_eq!(seen.count("another"), 1);
}

#[tokio::test]
async fn tokens_are_renewed_early_while_the_old_ones_are_in_use() {
    let (base, seen) = serve(|number, text| giving(number, &text)).await;
    let client = started(&base, renewable(Some(Duration::from_secs(4))), &Arc::default());
    client.send(&account(), create(), with_token, soon()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_150)).await;
    let sent = client.send(&account(), create(), with_token, soon()).await.unwrap();
    assert_eq!(sent.used.unwrap().access_token, Secret::new("access-0"), "no call waits");
    while seen.count("/refresh") < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let sent = client.send(&account(), create(), with_token, soon()).await.unwrap();
    assert_ne!(sent.used.unwrap().access_token, Secret::new("access-0"));
}
