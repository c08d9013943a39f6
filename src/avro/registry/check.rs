//! Whether the registry knows our schemas, and if not, whether it would take them.

use reqwest::Method;
use serde::Deserialize;

use super::{Registry, RegistryError};
use crate::avro::{
    compare,
    schemas::{self, Known},
    shape::Shape,
};

/// A schema that is to stand under a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    pub name: String,
    /// The record's full name.
    pub record: String,
}

impl Subject {
    /// TopicNameStrategy: one record a topic.
    pub fn of_topic(topic: &str, record: &str) -> Self {
        Self { name: format!("{topic}-value"), record: record.to_owned() }
    }

    /// TopicRecordNameStrategy: a topic of several records, where a second record's name under one
    /// subject would be refused as incompatible.
    pub fn of_topic_and_record(topic: &str, record: &str) -> Self {
        Self { name: format!("{topic}-{record}"), record: record.to_owned() }
    }
}

/// How a subject stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Our schema is registered, with this id.
    Present { id: u32 },
    /// Our schema is registered with this id, but as a text that differs in blanks or order. Our
    /// records can carry the id; a client that looks the schema up by text may not find it.
    PresentAsAnotherText { id: u32 },
    /// The subject exists, our schema is not in it, and it would be taken.
    Compatible,
    /// The subject exists and our schema does not fit; the text names the field.
    Incompatible { message: String },
    /// There is no such subject yet.
    Missing,
}

/// A subject and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectState {
    pub subject: Subject,
    pub state: State,
}

#[derive(Deserialize)]
struct Compatibility {
    is_compatible: bool,
    #[serde(default)]
    messages: Vec<String>,
}

impl Registry {
    /// Asks for every subject. Nothing is registered.
    pub async fn check_all(
        &self,
        subjects: &[Subject],
    ) -> Result<Vec<SubjectState>, RegistryError> {
        let mut states = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let known = schemas::of_record(&subject.record)
                .map_err(|e| RegistryError::Settings(e.to_string()))?;
            let state = self.check(&subject.name, known).await?;
            states.push(SubjectState { subject: subject.clone(), state });
        }
        Ok(states)
    }

    async fn check(&self, subject: &str, known: &Known) -> Result<State, RegistryError> {
        if let Some(id) = self.look_up(subject, &known.text).await? {
            return Ok(State::Present { id });
        }
        let Some(latest) = self.latest(subject).await? else {
            return Ok(State::Missing);
        };
        // An earlier version of ours had line breaks, and other tools order the attributes
        // in their own way.
        if let Some(id) = self.look_up_normalized(subject, &known.text).await? {
            return Ok(State::PresentAsAnotherText { id });
        }
        let path = ["compatibility", "subjects", subject, "versions", "latest"];
        let request = self
            .request(Method::POST, &path, &[("verbose", "true")])
            .json(&serde_json::json!({ "schema": known.text }));
        let verdict: Compatibility =
            match self.ask(request, || format!("subject `{subject}`")).await {
                Ok(verdict) => verdict,
                // The subject went away after it was asked for.
                Err(RegistryError::NotFound(_)) => return Ok(State::Missing),
                // Confluent answers 422 where one of the two schemas is none.
                Err(RegistryError::Refused { message, .. }) => {
                    Compatibility { is_compatible: false, messages: vec![message] }
                }
                Err(error) => return Err(error),
            };
        Ok(judge(known, &latest, &verdict))
    }
}

/// The registry's verdict in our own words. A registry without a rule takes everything, so what
/// readers of the old data would stumble over is refused here all the same.
fn judge(known: &Known, latest: &str, verdict: &Compatibility) -> State {
    let incompatible = |message: String| State::Incompatible { message };
    let registered = match Shape::parse(latest) {
        Ok(registered) => registered,
        Err(error) => return incompatible(format!("what is registered is {error}")),
    };
    let backward = compare::misfits(&known.shape, &registered);
    let list = |misfits: &[compare::Misfit]| {
        misfits.iter().take(5).map(ToString::to_string).collect::<Vec<_>>().join("; ")
    };
    if !backward.is_empty() {
        return incompatible(list(&backward));
    }
    if verdict.is_compatible {
        return State::Compatible;
    }
    // The registry's rule asks for more than reading old data with the new schema.
    let forward = compare::misfits(&registered, &known.shape);
    if !forward.is_empty() {
        return incompatible(format!(
            "a reader of the registered schema could not read ours: {}",
            list(&forward)
        ));
    }
    let said = super::super::json::shorten_to(&verdict.messages.join("; "), 400);
    incompatible(format!(
        "the registry refuses it against an earlier version (the latest would fit){}{said}",
        if said.is_empty() { "" } else { ": " }
    ))
}
