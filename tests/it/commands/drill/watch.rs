//! Reads the replies as they come.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rdkafka::{Message, consumer::Consumer, message::Headers};

use crate::support::backend::TestEnv;

/// The values of all replies to a command, in the order in which they were written, by `ce_id`.
pub(super) type Replies = HashMap<String, Vec<Vec<u8>>>;

/// A reader of the reply topic, on a thread of its own.
pub(super) struct Watch {
    replies: Arc<Mutex<Replies>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    pub(super) fn start(env: &TestEnv, topic: &str) -> Self {
        let consumer = env.consumer(&env.name("drill-replies"), &[]);
        consumer.subscribe(&[topic]).unwrap();
        let replies: Arc<Mutex<Replies>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (into, end) = (Arc::clone(&replies), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
                let id = message
                    .headers()
                    .and_then(|headers| headers.iter().find(|header| header.key == "ce_id")?.value);
                let id = String::from_utf8_lossy(id.unwrap_or_default()).into_owned();
                let value = message.payload().unwrap_or_default().to_vec();
                let mut replies = into.lock().unwrap_or_else(PoisonError::into_inner);
                replies.entry(id).or_default().push(value);
            }
        });
        Self { replies, stop, thread: Some(thread) }
    }

    /// How many commands have a reply.
    pub(super) fn count(&self) -> usize {
        self.replies.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Everything that was read.
    pub(super) fn end(mut self) -> Replies {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        std::mem::take(&mut self.replies.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
