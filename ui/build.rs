//! Lists what `npm run build` left in `dist`, so that the binary holds it. Without it the placeholder is served.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let dist = root.join("dist");
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    if dist.join("index.html").is_file() {
        // A path that is missing would make every build start anew; the first `npm run build` touches this file instead.
        println!("cargo:rerun-if-changed={}", dist.display());
        list(&dist, &mut files);
    }
    files.sort();
    let mut table = String::from("&[\n");
    for file in files.iter().filter(|file| file.extension().is_none_or(|extension| extension != "br")) {
        let name = file.strip_prefix(&dist).expect("it is below").to_string_lossy().replace('\\', "/");
        let brotli = PathBuf::from(format!("{}.br", file.display()));
        let brotli = if brotli.is_file() { format!("Some(include_bytes!({brotli:?}))") } else { "None".to_owned() };
        writeln!(table, "    Asset {{ name: {name:?}, bytes: include_bytes!({file:?}), brotli: {brotli} }},")
            .expect("writing to a String cannot fail");
    }
    table.push(']');
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("assets.rs");
    fs::write(output, table).expect("the output folder can be written");
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
