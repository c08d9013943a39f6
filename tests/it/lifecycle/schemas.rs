//! The texts of the schemas, as other clients look them up.

use std::process::Command;

use wms_connector::{
    app::topics,
    avro::schemas,
    sandbox::{Sandbox, SandboxSettings},
};

use super::commands::with_a_registry;
use crate::support::{
    app::{self, Options},
    backend::{TestEnv, blocking},
    parts,
    suite::tests,
};

tests! {
    kafka: java_looks_up_the_exported_texts, an_earlier_text_is_used_and_the_compact_one_added;
}

/// Java's clients post `Schema.toString()`, and Apicurio compares it byte for byte.
async fn java_looks_up_the_exported_texts(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let files = with_a_registry(env, &sandbox);
    let folder = files.path("schemas/exported");
    let listed = files.run(&["schemas", "export", folder.to_str().unwrap()]).await;
    let exported: Vec<String> = listed.ok().lines().map(str::to_owned).collect();
    assert_eq!(exported.len(), schemas::all().unwrap().len());

    let libs = blocking(parts::java_examples).await.unwrap().join("libs/*");
    let program = parts::crate_dir().join("tests/interop/SchemaText.java");
    let mut java = Command::new("java");
    java.arg("-cp").arg(libs).arg(program).args(&exported);
    let printed = blocking(move || java.output().unwrap()).await;
    let printed = String::from_utf8(printed.stdout).unwrap();
    let texts: Vec<&str> = printed.lines().collect();
    assert_eq!(texts.len(), exported.len(), "{printed}");

    files.run(&["schemas", "register"]).await.ok();
    let config = app::configuration(env, &Options::default(), &sandbox);
    let subjects = topics::all_subjects(&config);
    for (file, text) in exported.iter().zip(texts) {
        assert_eq!(std::fs::read_to_string(file).unwrap(), text, "{file}");
        let record = file.rsplit('/').next().and_then(|name| name.strip_suffix(".avsc")).unwrap();
        for subject in subjects.iter().filter(|subject| subject.record == record) {
            let found = env.registry().look_up(&subject.name, text).await;
            assert!(found.is_ok(), "{}: {found:?}", subject.name);
        }
    }
    sandbox.shutdown().await;
}

/// An earlier connector registered the files with their line breaks.
async fn an_earlier_text_is_used_and_the_compact_one_added(env: &TestEnv) {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let files = with_a_registry(env, &sandbox);
    let config = app::configuration(env, &Options::default(), &sandbox);
    for topic in topics::all(&config, 1, 1) {
        env.create_topic(&topic.name, 1).await;
    }
    let registry = env.registry();
    let subjects = topics::all_subjects(&config);
    for subject in &subjects {
        let earlier = schemas::of_record(&subject.record).unwrap().source;
        registry.register(&subject.name, earlier).await.unwrap();
    }
    let checked = files.run(&["schemas", "check"]).await;
    assert!(checked.ok().contains("as another text"), "{checked:?}");
    let connector = files.start(&[]).await;
    connector.until_ready_is(200).await;

    files.run(&["schemas", "register"]).await.ok();
    for subject in &subjects {
        let text = &schemas::of_record(&subject.record).unwrap().text;
        let found = registry.look_up(&subject.name, text).await;
        assert!(found.is_ok(), "{}: {found:?}", subject.name);
    }
    let after = files.run(&["schemas", "check"]).await;
    assert!(!after.ok().contains("as another text"), "{after:?}");
    sandbox.shutdown().await;
}
