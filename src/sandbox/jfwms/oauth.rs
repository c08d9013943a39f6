//! Authorisation (guide, section 2): one-time token → code → tokens → refreshed tokens.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::codes::Refusal;
use crate::sandbox::settings::{ExpiryUnit, FixtureToken, JfwmsSettings, RefreshRotation};

/// The most tokens of one kind; beyond it the one that ends first goes.
const MAX_TOKENS: usize = 1_000;
/// How long an authorisation code lives (undocumented).
const CODE_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
struct Grant {
    user_id: u64,
    ends: Timestamp,
}

type Grants = HashMap<String, Grant>;

/// Everything that was issued and can still be used.
#[derive(Debug)]
pub(in crate::sandbox) struct Tokens {
    one_time: HashMap<String, u64>,
    codes: Grants,
    access: Grants,
    refresh: Grants,
}

impl Tokens {
    pub(super) fn new(settings: &JfwmsSettings, now: Timestamp) -> Self {
        let granted = |fixtures: &[FixtureToken], lifetime: Duration| {
            let grant = |fixture: &FixtureToken| {
                let ends = after(now, fixture.lifetime.unwrap_or(lifetime));
                (fixture.token.clone(), Grant { user_id: fixture.user_id, ends })
            };
            fixtures.iter().map(grant).collect()
        };
        let one_time = settings.users.iter().flat_map(|user| {
            user.authorisation_tokens.iter().map(|token| (token.clone(), user.user_id))
        });
        Self {
            one_time: one_time.collect(),
            codes: HashMap::new(),
            access: granted(&settings.access_tokens, settings.access_token_lifetime),
            refresh: granted(&settings.refresh_tokens, settings.refresh_token_lifetime),
        }
    }

    pub(super) fn owner_of_access(&self, token: &str, now: Timestamp) -> Option<u64> {
        self.access.get(token).filter(|grant| grant.ends > now).map(|grant| grant.user_id)
    }

    pub(in crate::sandbox) fn expire_access(&mut self) {
        self.access.clear();
    }

    fn issue(
        &mut self,
        settings: &JfwmsSettings,
        user_id: u64,
        keep_refresh: Option<(String, Timestamp)>,
        now: Timestamp,
    ) -> Value {
        let ends = after(now, settings.access_token_lifetime);
        let access = secret();
        insert(&mut self.access, access.clone(), Grant { user_id, ends }, now);
        let (refresh, refresh_ends) = keep_refresh.unwrap_or_else(|| {
            let ends = after(now, settings.refresh_token_lifetime);
            let refresh = secret();
            insert(&mut self.refresh, refresh.clone(), Grant { user_id, ends }, now);
            (refresh, ends)
        });
        json!({
            "accessToken": access,
            "refreshToken": refresh,
            "expireIn": expiry(settings.expiry_unit, ends, now),
            "refreshExpireIn": expiry(settings.expiry_unit, refresh_ends, now),
            "userId": user_id,
        })
    }
}

fn insert(grants: &mut Grants, token: String, grant: Grant, now: Timestamp) {
    if grants.len() >= MAX_TOKENS {
        grants.retain(|_, grant| grant.ends > now);
    }
    if grants.len() >= MAX_TOKENS {
        let first =
            grants.iter().min_by_key(|(_, grant)| grant.ends).map(|(token, _)| token.clone());
        if let Some(token) = first {
            grants.remove(&token);
        }
    }
    grants.insert(token, grant);
}

fn expiry(unit: ExpiryUnit, ends: Timestamp, now: Timestamp) -> i64 {
    match unit {
        ExpiryUnit::Seconds => ends.duration_since(now).as_secs(),
        ExpiryUnit::EpochMillis => ends.as_millisecond(),
        ExpiryUnit::EpochSeconds => ends.as_second(),
    }
}

fn after(now: Timestamp, lifetime: Duration) -> Timestamp {
    let lifetime = SignedDuration::try_from(lifetime).unwrap_or(SignedDuration::MAX);
    now.checked_add(lifetime).unwrap_or(Timestamp::MAX)
}

/// Thirty-two hex digits, as the guide's samples have them.
fn secret() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// The query of a request, last value of a name.
pub(super) type Query = HashMap<String, String>;

fn given<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn client(settings: &JfwmsSettings, query: &Query) -> Result<(), Refusal> {
    match given(query, "clientId") {
        None => Err(Refusal::new(10006)),
        Some(id) if id == settings.client_id => Ok(()),
        Some(_) => Err(Refusal::new(10008)),
    }
}

fn client_and_secret(settings: &JfwmsSettings, query: &Query) -> Result<(), Refusal> {
    client(settings, query)?;
    match given(query, "clientSecret") {
        None => Err(Refusal::new(10007)),
        Some(secret) if secret == settings.client_secret => Ok(()),
        Some(_) => Err(Refusal::new(10008)),
    }
}

/// `GET /api/oauth/authorize`: domain, clientId, email, token. The one-time token is spent here;
/// the code for a wrong one is not documented, 10030 is the nearest.
pub(super) fn authorize(
    settings: &JfwmsSettings,
    tokens: &mut Tokens,
    query: &Query,
    now: Timestamp,
) -> Result<Value, Refusal> {
    client(settings, query)?;
    let domain = given(query, "domain").ok_or_else(|| Refusal::about(10001, "domain"))?;
    if !settings.users.iter().any(|user| user.domains.iter().any(|known| known == domain)) {
        return Err(Refusal::new(10013));
    }
    let email = given(query, "email").ok_or_else(|| Refusal::about(10001, "email"))?;
    let token = given(query, "token").ok_or_else(|| Refusal::about(10001, "token"))?;
    let user = settings
        .users
        .iter()
        .find(|user| user.email == email && user.domains.iter().any(|known| known == domain))
        .ok_or_else(|| Refusal::new(10011))?;
    if tokens.one_time.get(token) != Some(&user.user_id) {
        return Err(Refusal::new(10030));
    }
    tokens.one_time.remove(token);
    let code = secret();
    let grant = Grant { user_id: user.user_id, ends: after(now, CODE_LIFETIME) };
    insert(&mut tokens.codes, code.clone(), grant, now);
    Ok(Value::from(code))
}

/// `GET /api/oauth/accessToken`: clientId, clientSecret, key. A code works once.
pub(super) fn access_token(
    settings: &JfwmsSettings,
    tokens: &mut Tokens,
    query: &Query,
    now: Timestamp,
) -> Result<Value, Refusal> {
    client_and_secret(settings, query)?;
    let key = given(query, "key").ok_or_else(|| Refusal::about(10001, "key"))?;
    let grant = tokens.codes.remove(key).filter(|grant| grant.ends > now);
    let grant = grant.ok_or_else(|| Refusal::new(10030))?;
    Ok(tokens.issue(settings, grant.user_id, None, now))
}

/// `GET /api/oauth/refreshToken`: clientId, clientSecret, refreshToken, userId.
pub(super) fn refresh_token(
    settings: &JfwmsSettings,
    tokens: &mut Tokens,
    query: &Query,
    now: Timestamp,
) -> Result<Value, Refusal> {
    client_and_secret(settings, query)?;
    let token = given(query, "refreshToken").ok_or_else(|| Refusal::new(10005))?;
    let user_id = given(query, "userId").and_then(|id| id.parse::<u64>().ok());
    let user_id = user_id.ok_or_else(|| Refusal::new(10029))?;
    let grant = tokens.refresh.get(token).copied().filter(|grant| grant.ends > now);
    let grant = grant.ok_or_else(|| Refusal::new(10003))?;
    if grant.user_id != user_id {
        return Err(Refusal::new(10009));
    }
    let keep = match settings.rotation {
        RefreshRotation::Keep => Some((token.to_owned(), grant.ends)),
        RefreshRotation::RotateKeepOld => None,
        RefreshRotation::Rotate => {
            tokens.refresh.remove(token);
            None
        }
    };
    if settings.refresh_revokes_access {
        tokens.access.retain(|_, access| access.user_id != user_id);
    }
    Ok(tokens.issue(settings, user_id, keep, now))
}
