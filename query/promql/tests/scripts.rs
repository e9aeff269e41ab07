//! Runs the scripts of `testdata`.

use std::fs;
use std::path::Path;

use trivium_promql::script::Script;

#[test]
fn scripts_are_valid() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut commands = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let script = Script::parse(&fs::read_to_string(&path).unwrap());
        commands += script.unwrap_or_else(|error| panic!("{}: {error}", path.display())).commands.len();
    }
    assert!(commands > 50);
}
