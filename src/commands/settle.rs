//! What a look-up by the document's number says about a command of which it was not known whether
//! it took effect.

use super::{lifecycle::vendor_says, outcome::Outcome};
use crate::domain::{Details, LookUp, Operation, ReplyCategory, ReplyStatus};

/// Why the document is looked up.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Ground {
    /// An answer never came.
    Silence,
    /// The vendor says that the number is taken.
    Duplicate(Details),
    /// The vendor refuses, but an earlier attempt may have taken effect.
    Refused(Box<Outcome>),
    /// There will be no further attempt, and one of them may have taken effect.
    GivenUp(Box<Outcome>),
}

/// What follows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Settled {
    End(Outcome),
    /// Not in place: send the operation again. Where it is in place after all, the vendor's
    /// duplicate refusal says so.
    SendAgain,
    /// The vendor says that it is there and does not show it: look again, or end so.
    Blank(Outcome),
}

/// Whether the operation takes a document back.
pub(super) fn is_cancel(operation: Operation) -> bool {
    match operation {
        Operation::CancelOrder | Operation::CancelAsn => true,
        Operation::CreateOrder | Operation::CreateAsn | Operation::Call => false,
    }
}

/// The outcome of a command that may have taken effect all the same.
pub(super) fn uncertain(mut outcome: Outcome) -> Outcome {
    outcome.status = ReplyStatus::Unknown;
    outcome.category = ReplyCategory::Uncertain;
    outcome.message = format!(
        "{} An earlier attempt may have taken effect, and that could not be found out: look at \
         the vendor before sending it again.",
        outcome.message
    );
    outcome
}

pub(super) fn settle(
    operation: Operation,
    ground: &Ground,
    found: LookUp,
    silent: bool,
) -> Settled {
    match found {
        LookUp::Found { details, cancelled, .. } if is_cancel(operation) => {
            cancel_found(ground, details, cancelled)
        }
        LookUp::Found { details, cancelled: true, .. } => Settled::End(Outcome::rejected(
            ReplyCategory::Duplicate,
            details,
            "The number belongs to a document that stands cancelled at the vendor; use another \
             number.",
        )),
        LookUp::Found { details, differences, .. } if !differences.is_empty() => {
            let message = format!(
                "The number belongs to another document at the vendor: {}",
                differences.join("; ")
            );
            Settled::End(Outcome::rejected(ReplyCategory::Duplicate, details, message))
        }
        LookUp::Found { details, compared, .. } => {
            let message = if compared.is_empty() {
                "It was in place already; the vendor returns nothing that could be compared with \
                 what was asked."
                    .to_owned()
            } else {
                format!("It was in place already; compared: {}.", compared.join(", "))
            };
            Settled::End(Outcome::already(details, message))
        }
        LookUp::NotFound { vendor_may_be_working } => {
            not_found(operation, ground, vendor_may_be_working, silent)
        }
        LookUp::Ambiguous(_)
            if let Ground::Refused(refused) = ground
                && !silent =>
        {
            Settled::End((**refused).clone())
        }
        LookUp::Ambiguous(details) => {
            let message = "More than one document answers to this number.";
            let outcome = Outcome::rejected(ReplyCategory::Duplicate, details, message);
            Settled::End(if silent { uncertain(outcome) } else { outcome })
        }
        LookUp::Failed(_) => Settled::Blank(Outcome::unknown(
            Details::default(),
            "It could not be looked up whether it is in place.",
        )),
    }
}

fn cancel_found(ground: &Ground, details: Details, cancelled: bool) -> Settled {
    if cancelled {
        return Settled::End(Outcome::already(details, "It stands cancelled."));
    }
    match ground {
        Ground::Silence => Settled::SendAgain,
        Ground::Duplicate(refusal) => Settled::End(Outcome::rejected(
            ReplyCategory::Duplicate,
            refusal.clone(),
            vendor_says("The vendor refuses it", refusal),
        )),
        // It stands uncancelled, so nothing took effect.
        Ground::Refused(outcome) | Ground::GivenUp(outcome) => Settled::End((**outcome).clone()),
    }
}

fn not_found(operation: Operation, ground: &Ground, working: bool, silent: bool) -> Settled {
    match ground {
        Ground::Silence => Settled::SendAgain,
        Ground::Duplicate(details) if working => Settled::Blank(Outcome::already(
            details.clone(),
            "The vendor says that it is there already and does not show it yet, so nothing could \
             be compared.",
        )),
        // It is surely not there: what looked like a duplicate is a refusal of another kind.
        Ground::Duplicate(details) => Settled::End(Outcome::rejected(
            ReplyCategory::Refused,
            details.clone(),
            vendor_says("The vendor refuses it", details),
        )),
        Ground::Refused(outcome) | Ground::GivenUp(outcome) => {
            // A document that is not there cannot have been cancelled by us either.
            let unsettled = silent && working && !is_cancel(operation);
            let outcome = (**outcome).clone();
            Settled::End(if unsettled { uncertain(outcome) } else { outcome })
        }
    }
}
