//! What Qianyi's answer to an operation means. The body decides before the status does: refusals
//! come with HTTP 200.

use super::{
    answer::{self, Failure, Reading, Success},
    codes::{Class, Code},
    json,
};
use crate::domain::{Command, Details, Effect, Operation, ReplyCategory, VendorAnswer, Verdict};

/// The verdict on an operation's answer.
pub(super) fn judge(command: &Command, answer: &VendorAnswer) -> Verdict {
    let success = match classify(command.operation(), answer) {
        Ok(success) => success,
        Err(verdict) => return *verdict,
    };
    let inner = success.inner();
    let result = inner.as_ref().and_then(|inner| json::last(inner, "result"));
    let result = result.filter(|raw| *raw != "null");
    let details = Details {
        vendor_request_id: success.request_id.clone(),
        vendor_reference: result.and_then(|raw| reference(command.operation(), raw)),
        result: result.map(str::to_owned),
        ..Details::default()
    };
    match command {
        Command::Call(_) => {
            Verdict::Succeeded(Details { result: details.result.or(success.content), ..details })
        }
        // Without the inner envelope nobody said that the work was done.
        _ if inner.is_none() => uncertain(details),
        // "On failure result or asnNumber is missing; callers must cope" (Qianyi, 入库单).
        Command::CreateAsn(_) if details.vendor_reference.is_none() => uncertain(details),
        Command::CancelAsn(cancel) => Verdict::Succeeded(Details {
            vendor_reference: details.vendor_reference.or_else(|| cancel.vendor_reference.clone()),
            ..details
        }),
        Command::CreateOrder(_) | Command::CreateAsn(_) | Command::CancelOrder(_) => {
            Verdict::Succeeded(details)
        }
    }
}

/// The vendor's own number of the document.
fn reference(operation: Operation, result: &str) -> Option<String> {
    let name = match operation {
        Operation::CreateOrder | Operation::CancelOrder => "orderNumber",
        Operation::CreateAsn | Operation::CancelAsn => "asnNumber",
        Operation::Call => return None,
    };
    answer::text(&json::members(result)?, name)
}

fn uncertain(details: Details) -> Verdict {
    Verdict::Transient { effect: Effect::Possible, retry_after: None, details }
}

/// Tells a success from everything else.
pub(super) fn classify(
    operation: Operation,
    answer: &VendorAnswer,
) -> Result<Success, Box<Verdict>> {
    let retry_after = answer.retry_after;
    let reading = answer::read(answer);
    let throttled = answer.status == 429 || (answer.status == 503 && retry_after.is_some());
    let unsaid =
        || Details { vendor_message: Some(answer.unreadable("Qianyi")), ..Details::default() };
    let verdict = match (reading, answer.status) {
        // What a throttled call is answered is not documented; the status is plain.
        (Reading::Failure(failure), _) if throttled => {
            Verdict::Throttled { retry_after, details: said(&failure) }
        }
        _ if throttled => Verdict::Throttled { retry_after, details: unsaid() },
        (Reading::Failure(failure), 500..) if known(&failure).is_none() => {
            let details = said(&failure);
            Verdict::Transient { effect: Effect::Possible, retry_after, details }
        }
        (Reading::Failure(failure), _) => refused(operation, &failure),
        (Reading::Success(success), 200..=299) => return Ok(success),
        // An answer that cannot be read, or a server that failed: the work may be done.
        (Reading::Success(_) | Reading::Unreadable, 200..=299 | 500..) => {
            Verdict::Transient { effect: Effect::Possible, retry_after, details: unsaid() }
        }
        (Reading::Success(_) | Reading::Unreadable, 408 | 425) => {
            Verdict::Transient { effect: Effect::Possible, retry_after, details: unsaid() }
        }
        // Something before the vendor. A redirect is never followed.
        (Reading::Success(_) | Reading::Unreadable, status) => {
            Verdict::Blocked { status, details: Details::default() }
        }
    };
    Err(Box::new(verdict))
}

fn known(failure: &Failure) -> Option<Code> {
    failure.code.as_deref().and_then(Code::of)
}

fn said(failure: &Failure) -> Details {
    Details {
        vendor_code: failure.code.clone(),
        vendor_message: failure.message.clone(),
        vendor_request_id: failure.request_id.clone(),
        ..Details::default()
    }
}

/// What follows from a failure's code.
fn refused(operation: Operation, failure: &Failure) -> Verdict {
    let mut details = said(failure);
    let creates = matches!(operation, Operation::CreateOrder | Operation::CreateAsn);
    let Some(code) = known(failure) else {
        // No code is documented for an ASN whose number is taken, so whatever is not surely
        // something else is looked up.
        if operation == Operation::CreateAsn && failure.inner {
            return Verdict::Duplicate(details);
        }
        return Verdict::Refused { category: ReplyCategory::Refused, details };
    };
    if creates {
        details.field = code.field();
    }
    match code.class() {
        Class::AlreadyExists if creates => Verdict::Duplicate(details),
        Class::Refused
            if operation == Operation::CreateAsn && failure.inner && !definite_for_asn(code) =>
        {
            Verdict::Duplicate(details)
        }
        Class::AlreadyExists | Class::Refused => {
            Verdict::Refused { category: code.category(), details }
        }
        Class::Transient => uncertain(details),
        Class::Configuration if operation == Operation::Call && code.refuses_the_operation() => {
            Verdict::Refused { category: code.category(), details }
        }
        Class::Configuration => Verdict::Misconfigured(details),
    }
}

/// Whether the code says something of an ASN that a taken number cannot be.
fn definite_for_asn(code: Code) -> bool {
    code.field().is_some()
}
