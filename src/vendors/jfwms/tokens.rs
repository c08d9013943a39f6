//! How JFWMS gives and renews tokens (JFWMS guide, 授权): three GET calls, unsigned, with their
//! secrets in the query.

use jiff::{SignedDuration, Timestamp};

use super::{
    Jfwms,
    api::token_data,
    json::{Members, text, text_or_number},
    settings::fits_header,
};
use crate::{
    domain::{Body, Method, PlannedCall, Secret, TokenRefusal, Tokens, VendorAnswer, whole},
    vendors::TokenCalls,
};

/// The guide: an access token is valid for 24 hours.
const ACCESS_TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

impl TokenCalls for Jfwms {
    fn configured(&self) -> Option<Tokens> {
        let settings = self.settings();
        if settings.access_token.is_none() && settings.refresh_token.is_none() {
            return None;
        }
        Some(Tokens {
            access_token: settings.access_token.clone().unwrap_or_else(|| Secret::new("")),
            user_id: settings.user_id.clone().unwrap_or_default(),
            // A refresh token alone: the access token it gives is needed at once. Of a fixed
            // access token nobody knows the end.
            expires_at: settings.access_token.is_none().then_some(Timestamp::UNIX_EPOCH),
            refresh_token: settings.refresh_token.clone(),
            refresh_expires_at: None,
        })
    }

    fn refresh(&self, refresh_token: &Secret, user_id: &str) -> PlannedCall {
        let mut query = vec![
            ("clientId", self.settings().client_id.clone()),
            // One known client leaves it out, three send it.
            ("clientSecret", self.settings().client_secret.expose().to_owned()),
            ("refreshToken", refresh_token.expose().to_owned()),
        ];
        if !user_id.is_empty() {
            query.push(("userId", user_id.to_owned()));
        }
        get("/api/oauth/refreshToken", query)
    }

    fn authorize(&self, email: &str, one_time_token: &Secret, domain: Option<&str>) -> PlannedCall {
        let domain = domain.or(self.settings().auth_domain.as_deref()).unwrap_or_default();
        get(
            "/api/oauth/authorize",
            vec![
                ("domain", domain.to_owned()),
                ("clientId", self.settings().client_id.clone()),
                ("email", email.to_owned()),
                ("token", one_time_token.expose().to_owned()),
            ],
        )
    }

    fn read_code(&self, answer: &VendorAnswer) -> Result<Secret, TokenRefusal> {
        let data = token_data(answer)?;
        text(&data)
            .filter(|code| !code.is_empty())
            .map(Secret::new)
            .ok_or_else(|| TokenRefusal::Unreadable("`data` is no authorisation code".to_owned()))
    }

    fn exchange(&self, code: &Secret) -> PlannedCall {
        get(
            "/api/oauth/accessToken",
            vec![
                ("clientId", self.settings().client_id.clone()),
                ("clientSecret", self.settings().client_secret.expose().to_owned()),
                ("key", code.expose().to_owned()),
            ],
        )
    }

    fn read_tokens(
        &self,
        answer: &VendorAnswer,
        now: Timestamp,
        previous: Option<&Tokens>,
    ) -> Result<Tokens, TokenRefusal> {
        let data = token_data(answer)?;
        let members = Members::read(&data)
            .map_err(|_| TokenRefusal::Unreadable("`data` is no object".to_owned()))?;
        let member = |name: &str| {
            let text = members.get(name).and_then(text_or_number)?;
            Some(text.into_owned()).filter(|text| !text.is_empty())
        };
        let missing = |name: &str| TokenRefusal::Unreadable(format!("`data.{name}` is missing"));
        let time = |name: &str| member(name).and_then(|text| expiry(&text, now));

        let access_token = member("accessToken").ok_or_else(|| missing("accessToken"))?;
        if !fits_header(&access_token) {
            return Err(TokenRefusal::Unreadable(
                "`data.accessToken` holds what no HTTP header can carry".to_owned(),
            ));
        }
        let known_user = previous.map(|tokens| tokens.user_id.as_str()).filter(|id| !id.is_empty());
        // 8.0 is the user 8; a text is taken as it is.
        let user_id = member("userId")
            .map(|id| {
                whole(&id).filter(|_| id.contains(['.', 'e', 'E'])).map_or(id, |id| id.to_string())
            })
            .or_else(|| known_user.map(str::to_owned))
            .ok_or_else(|| missing("userId"))?;
        // Calls would go to another seller's stock from here on.
        if known_user.is_some_and(|known| known != user_id) {
            return Err(TokenRefusal::Unreadable(
                "the tokens are for another user than the ones they renew; authorise this account again"
                    .to_owned(),
            ));
        }

        let latest = now.saturating_add(ACCESS_TOKEN_LIFE).unwrap_or(Timestamp::MAX);
        // Whether a refresh gives a new refresh token is documented nowhere: the old one is kept
        // until there is a new one, with its end.
        let new = member("refreshToken").map(Secret::new);
        let old = previous.and_then(|tokens| tokens.refresh_token.clone());
        let kept_end = previous
            .filter(|_| new.is_none() || new == old)
            .and_then(|tokens| tokens.refresh_expires_at);
        Ok(Tokens {
            access_token: Secret::new(access_token),
            user_id,
            expires_at: Some(time("expireIn").map_or(latest, |end| end.min(latest))),
            refresh_token: new.or(old),
            refresh_expires_at: time("refreshExpireIn").or(kept_end),
        })
    }
}

fn get(path: &str, query: Vec<(&'static str, String)>) -> PlannedCall {
    PlannedCall {
        method: Method::Get,
        path: path.to_owned(),
        query,
        headers: vec![("Accept-Language", "zh_CN".to_owned())],
        body: Body::Empty,
    }
}

/// When something ends that "expires in" `text`. The unit is documented nowhere, and clients of
/// this interface have met all three: milliseconds or seconds since the epoch, seconds from now.
/// They differ so much in size that they cannot be confused. What is no positive number says
/// nothing.
fn expiry(text: &str, now: Timestamp) -> Option<Timestamp> {
    let number = whole(text.trim()).filter(|number| *number > 0)?;
    if number > 1_000_000_000_000 {
        Timestamp::from_millisecond(number).ok()
    } else if number > 1_000_000_000 {
        Timestamp::from_second(number).ok()
    } else {
        now.checked_add(SignedDuration::from_secs(number)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::AccountName, vendors::jfwms::Settings};

    const NOW: &str = "2025-06-25T08:30:06Z";

    fn vendor(more: &str) -> Jfwms {
        let settings: Settings =
            toml::from_str(&format!("client_id = \"c\"\nclient_secret = \"s\"\n{more}")).unwrap();
        Jfwms::new(AccountName::new("a").unwrap(), settings).unwrap()
    }

    fn answer(status: u16, body: &str) -> VendorAnswer {
        VendorAnswer {
            status,
            retry_after: None,
            date: None,
            content_type: None,
            body: body.into(),
        }
    }

    fn previous() -> Tokens {
        Tokens {
            access_token: Secret::new("a0"),
            user_id: "8".to_owned(),
            expires_at: None,
            refresh_token: Some(Secret::new("r0")),
            refresh_expires_at: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        }
    }

    #[test]
    fn the_unit_of_expire_in_is_told_by_its_size() {
        let now: Timestamp = NOW.parse().unwrap();
        for (text, end) in [
            ("3600", Some("2025-06-25T09:30:06Z")),
            ("1750845000", Some("2025-06-25T09:50:00Z")),
            ("1750845000123", Some("2025-06-25T09:50:00.123Z")),
            ("31536000", Some("2026-06-25T08:30:06Z")),
            ("0", None),
            ("-5", None),
            ("soon", None),
            ("99999999999999999", None),
        ] {
            assert_eq!(expiry(text, now), end.map(|end| end.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn an_access_token_ends_within_a_day() {
        let now: Timestamp = NOW.parse().unwrap();
        for (expire_in, end) in [
            ("\"expireIn\":3600,", "2025-06-25T09:30:06Z"),
            ("\"expireIn\":\"3600\",", "2025-06-25T09:30:06Z"),
            ("\"expireIn\":864000,", "2025-06-26T08:30:06Z"),
            ("\"expireIn\":1999999999999,", "2025-06-26T08:30:06Z"),
            ("\"expireIn\":null,", "2025-06-26T08:30:06Z"),
            ("", "2025-06-26T08:30:06Z"),
        ] {
            let body = format!(
                r#"{{"code":"0","message":"","data":{{{expire_in}"accessToken":"a1","refreshToken":"r1","refreshExpireIn":31536000,"userId":8}}}}"#
            );
            let tokens = vendor("").read_tokens(&answer(200, &body), now, None).unwrap();
            assert_eq!(
                tokens,
                Tokens {
                    access_token: Secret::new("a1"),
                    user_id: "8".to_owned(),
                    expires_at: Some(end.parse().unwrap()),
                    refresh_token: Some(Secret::new("r1")),
                    refresh_expires_at: Some("2026-06-25T08:30:06Z".parse().unwrap()),
                },
                "{expire_in}"
            );
        }
    }

    #[test]
    fn a_refresh_keeps_what_it_does_not_renew() {
        let now: Timestamp = NOW.parse().unwrap();
        let body = r#"{"code":0,"data":{"accessToken":"a1","expireIn":60}}"#;
        let tokens = vendor("").read_tokens(&answer(200, body), now, Some(&previous())).unwrap();
        assert_eq!(tokens.refresh_token, Some(Secret::new("r0")));
        assert_eq!(tokens.refresh_expires_at, previous().refresh_expires_at);
        assert_eq!(tokens.user_id, "8");

        let body = r#"{"code":0,"data":{"accessToken":"a1","refreshToken":"r1","expireIn":60}}"#;
        let tokens = vendor("").read_tokens(&answer(200, body), now, Some(&previous())).unwrap();
        assert_eq!(tokens.refresh_token, Some(Secret::new("r1")));
        assert_eq!(tokens.refresh_expires_at, None, "the old token's end is not the new one's");
    }

    #[test]
    fn answers_without_tokens_say_what_to_do() {
        enum Is {
            Refused,
            Transient,
            Unreadable,
        }
        for (status, body, is) in [
            (200, r#"{"code":10003,"message":"Invalid REFRESH TOKEN"}"#, Is::Refused),
            (200, r#"{"code":"10030","message":"x"}"#, Is::Refused),
            (200, r#"{"code":77777,"message":"x"}"#, Is::Refused),
            (200, r#"{"code":1,"message":"x"}"#, Is::Transient),
            (502, "<html>", Is::Transient),
            (429, "", Is::Transient),
            (404, "<html>", Is::Unreadable),
            // A gateway's own code is no refusal of the tokens, which only a person could replace.
            (403, r#"{"code":403,"message":"Forbidden"}"#, Is::Unreadable),
            (400, r#"{"code":"BadRequest","message":"x"}"#, Is::Unreadable),
            (403, r#"{"code":0,"data":{"accessToken":"a","userId":8}}"#, Is::Unreadable),
            (502, r#"{"code":0,"data":{"accessToken":"a","userId":8}}"#, Is::Transient),
            (502, r#"{"code":502,"message":"Bad Gateway"}"#, Is::Transient),
            (408, "", Is::Transient),
            (425, "", Is::Transient),
            (400, r#"{"code":10003,"message":"Invalid REFRESH TOKEN"}"#, Is::Refused),
            (200, "<html>", Is::Unreadable),
            (200, r#"{"code":0,"data":null}"#, Is::Unreadable),
            (200, r#"{"code":0,"data":{"userId":8}}"#, Is::Unreadable),
            (200, r#"{"code":0,"data":{"accessToken":"a","userId":9}}"#, Is::Unreadable),
            (200, r#"{"code":0,"data":{"accessToken":"a\nb","userId":8}}"#, Is::Unreadable),
        ] {
            let now = NOW.parse().unwrap();
            let result = vendor("").read_tokens(&answer(status, body), now, Some(&previous()));
            assert!(
                matches!(
                    (result.unwrap_err(), is),
                    (TokenRefusal::Refused { .. }, Is::Refused)
                        | (TokenRefusal::Transient(_), Is::Transient)
                        | (TokenRefusal::Unreadable(_), Is::Unreadable)
                ),
                "{status} {body}"
            );
        }
    }

    #[test]
    fn the_three_calls_carry_the_documented_parameters() {
        let vendor = vendor("auth_domain = \"wms\"");
        let names = |call: &PlannedCall| {
            let pairs = call.query.iter().map(|(name, value)| format!("{name}={value}"));
            format!("{} {}", call.path, pairs.collect::<Vec<_>>().join("&"))
        };
        for (call, expected) in [
            (
                vendor.authorize("e@x", &Secret::new("t"), None),
                "/api/oauth/authorize domain=wms&clientId=c&email=e@x&token=t",
            ),
            (
                vendor.authorize("e@x", &Secret::new("t"), Some("https://w")),
                "/api/oauth/authorize domain=https://w&clientId=c&email=e@x&token=t",
            ),
            (
                vendor.exchange(&Secret::new("k")),
                "/api/oauth/accessToken clientId=c&clientSecret=s&key=k",
            ),
            (
                vendor.refresh(&Secret::new("r"), "8"),
                "/api/oauth/refreshToken clientId=c&clientSecret=s&refreshToken=r&userId=8",
            ),
        ] {
            assert_eq!(names(&call), expected);
            assert_eq!(call.method, Method::Get);
        }
        for zero in ["0", "0.0", "\"0\"", "0e3"] {
            let body = format!("\u{feff}{{\"code\":{zero},\"data\":\"k1\"}}");
            let code = vendor.read_code(&answer(200, &body)).unwrap();
            assert_eq!(code.expose(), "k1");
        }
    }

    #[test]
    fn configured_tokens_are_a_beginning() {
        assert_eq!(vendor("").configured(), None);
        let fixed = vendor("access_token = \"a\"\nuser_id = 8").configured().unwrap();
        assert_eq!((fixed.user_id.as_str(), fixed.expires_at), ("8", None));
        let refresh = vendor("refresh_token = \"r\"").configured().unwrap();
        assert!(refresh.access_token.is_empty());
        assert_eq!(refresh.expires_at, Some(Timestamp::UNIX_EPOCH));
    }
}
