//! What `gcshim report` renders.

use std::ffi::OsStr;

use serde_json::Value;

use super::{end, fixtures, gcshim, options, run};

#[test]
fn the_text_of_recorded_reports_is_exactly_this() {
    assert_eq!(run(["report", "leaks.ndjson"]), (Some(0), include_str!("../../fixtures/leaks.txt").into(), "".into()));
    assert_eq!(run(["report", "clean.ndjson"]), (Some(0), include_str!("../../fixtures/clean.txt").into(), "".into()));
    assert_eq!(run(["report", "torn.ndjson"]), (Some(0), include_str!("../../fixtures/torn.txt").into(), "".into()));
}

#[test]
fn several_files_are_one_report() {
    let (status, stdout, _) = run(["report", "clean.ndjson", "leaks.ndjson"]);
    assert_eq!(status, Some(0));
    assert_eq!(stdout, concat!(include_str!("../../fixtures/clean.txt"), include_str!("../../fixtures/leaks.txt")));
}

#[test]
fn a_report_can_come_from_standard_input_and_go_to_a_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("out.txt");
    let mut command = gcshim([OsStr::new("report"), OsStr::new("-"), OsStr::new("-o"), file.as_os_str()]);
    let output = command
        .stdin(std::fs::File::open(fixtures().join("leaks.ndjson")).expect("the fixture"))
        .output()
        .expect("gcshim starts");
    assert_eq!(end(&output), (Some(0), "".into(), "".into()));
    assert_eq!(std::fs::read_to_string(file).expect("written"), include_str!("../../fixtures/leaks.txt"));
}

#[test]
fn check_makes_failing_verdicts_a_status() {
    assert_eq!(run(["report", "--check", "leaks.ndjson"]).0, Some(23));
    assert_eq!(run(["report", "--check", "clean.ndjson"]).0, Some(0));
}

#[test]
fn a_file_that_is_missing_is_one_line() {
    let (status, stdout, stderr) = run(["report", "nowhere.ndjson"]);
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    assert_eq!(stderr, "gcshim: nowhere.ndjson: No such file or directory (os error 2)\n");
}

#[test]
fn an_empty_report_says_so() {
    assert_eq!(run(["report", "/dev/null"]), (Some(0), "gcshim: the report is empty\n".into(), "".into()));
}

fn json(format: &str, fixture: &str) -> Value {
    let (status, stdout, stderr) = run(["report", "--format", format, fixture]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&stdout).expect("a JSON document")
}

#[test]
fn json_has_everything_largest_first() {
    let report = json("json", "leaks.ndjson");
    assert_eq!(report["failing"], 3);
    let process = &report["processes"][0];
    assert_eq!(process["pid"], 4242);
    let audit = &process["audits"][0];
    assert_eq!(audit["pause_us"], 3140);
    assert_eq!(audit["modules"][0]["base"], "0x7f0000000000");
    assert_eq!(audit["suppressed"][0]["type"], "numpy.ufunc");
    assert_eq!(audit["degraded"][1]["count"], 1200);
    let findings = audit["findings"].as_array().expect("findings");
    let verdicts: Vec<&str> = findings.iter().filter_map(|f| f["verdict"].as_str()).collect();
    assert_eq!(verdicts, ["over-released", "leaked-object", "leaked-reference", "cyclic-garbage"]);
    assert_eq!(findings[1]["examples"].as_array().map(Vec::len), Some(4));
    assert_eq!(findings[2]["examples"][0]["tagged"], 2);
}

#[test]
fn sarif_results_point_to_their_rules_and_places() {
    let sarif = json("sarif", "leaks.ndjson");
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules: Vec<&str> =
        run["tool"]["driver"]["rules"].as_array().expect("rules").iter().filter_map(|r| r["id"].as_str()).collect();
    assert_eq!(rules, options::VERDICTS);
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 4);
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index") as usize;
        assert_eq!(result["ruleId"], rules[index]);
        assert!(!result["message"]["text"].as_str().expect("a text").is_empty());
        assert!(!result["partialFingerprints"]["gcshim/1"].as_str().expect("a fingerprint").is_empty());
    }
    let levels: Vec<&str> = results.iter().filter_map(|r| r["level"].as_str()).collect();
    assert_eq!(levels, ["error", "error", "error", "note"]);
    let leak = &results[1];
    let place = &leak["locations"][0];
    assert_eq!(place["physicalLocation"]["artifactLocation"]["uri"], "app.py");
    assert_eq!(place["physicalLocation"]["region"]["startLine"], 12);
    assert_eq!(place["logicalLocations"][0]["name"], "bytes");
    assert_eq!(leak["stacks"][0]["frames"].as_array().map(Vec::len), Some(2));
    let invocation = &run["invocations"][0];
    assert_eq!(invocation["executionSuccessful"], true);
    assert_eq!(invocation["toolExecutionNotifications"].as_array().map(Vec::len), Some(2));
    assert_eq!(json("sarif", "torn.ndjson")["runs"][0]["invocations"][0]["executionSuccessful"], false);
}

#[test]
fn sarif_uris_are_relative_below_the_folder_and_escaped() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = std::fs::canonicalize(folder.path()).expect("it exists");
    let inside = root.join("a b.py");
    let frames = serde_json::json!([{ "file": inside, "line": 0 }, { "file": "/else where/x.py", "line": 5, "function": "f" }]);
    let finding = serde_json::json!({ "kind": "finding", "verdict": "leaked-object", "site": { "python": frames } });
    std::fs::write(root.join("r.ndjson"), format!("{finding}\n")).expect("written");
    let (_, stdout, _) =
        end(&gcshim(["report", "--format", "sarif", "r.ndjson"]).current_dir(&root).output().expect("gcshim starts"));
    let sarif: Value = serde_json::from_str(&stdout).expect("a JSON document");
    let frames = &sarif["runs"][0]["results"][0]["stacks"][0]["frames"];
    assert_eq!(frames[0]["location"]["physicalLocation"], serde_json::json!({ "artifactLocation": { "uri": "a%20b.py" } }));
    let other = serde_json::json!({ "artifactLocation": { "uri": "file:///else%20where/x.py" }, "region": { "startLine": 5 } });
    assert_eq!(frames[1]["location"]["physicalLocation"], other);
}

#[test]
fn junit_is_exactly_this() {
    let (status, stdout, stderr) = run(["report", "--format", "junit", "leaks.ndjson"]);
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert_eq!(stdout, include_str!("../../fixtures/leaks.junit.xml"));
}

#[test]
fn junit_tells_clean_from_cut_off_and_escapes() {
    let (_, clean, _) = run(["report", "--format", "junit", "clean.ndjson"]);
    assert!(clean.contains("<testsuites name=\"gcshim\" tests=\"1\" failures=\"0\" errors=\"0\">"), "{clean}");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("r.ndjson");
    std::fs::write(&file, "{\"kind\":\"finding\",\"verdict\":\"leaked-object\",\"type\":\"<\\\"&\\u0001\",\"failing\":true}\n")
        .expect("written");
    let (_, cut, _) = run(["report".as_ref(), "--format".as_ref(), "junit".as_ref(), file.as_os_str()]);
    assert!(cut.contains("tests=\"2\" failures=\"1\" errors=\"1\">"), "{cut}");
    assert!(cut.contains("name=\"&lt;&quot;&amp;\u{fffd}\""), "{cut}");
}
