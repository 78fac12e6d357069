//! `gcshim histogram`: what it makes of the files.

use std::path::Path;
use std::process::Command;

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use crate::support::{interpreters, shim};

/// A writing of process `pid`: `count` lists of 64 bytes that lived 1,000 ns each, and one that lived 300,000.
fn writing(pid: u32, rate: u64, count: u64, ages: u64) -> String {
    let head = format!(
        r#"{{"schema":"gcshim/1","kind":"histograms","pid":{pid},"argv":["a"],"python":null,"moment":"exit","rate":{rate},"always_above":65536,"digits":2,"start_ns":5,"from_ns":1000000000,"to_ns":3000000000,"unix_ms":1700000002000,"allocated_bytes":1000000,"ages":true,"lost":0}}"#
    );
    let list = |what: &str, buckets: &str| {
        format!(
            r#"{{"kind":"histogram","what":"{what}","unit":"ns","holds":"object","type":"list","size":64,"buckets":{buckets}}}"#
        )
    };
    // 999 and 299,008 are the lowest values of the buckets of 1,000 and 300,000.
    let lives = list("lifetime", &format!("[[1000,{count}],[299008,1]]"));
    let lives_on = list("age", &format!("[[7,{ages}]]"));
    let raw = r#"{"kind":"histogram","what":"lifetime","unit":"bytes","holds":"raw","size":65536,"buckets":[[0,2]]}"#;
    format!("{head}\n{lives}\n{lives_on}\n{raw}\n{{\"kind\":\"histograms-end\",\"pid\":{pid},\"histograms\":3}}\n")
}

/// Runs it in a folder; standard output, which must be all.
fn gcshim(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_gcshim")).arg("histogram").args(arguments).current_dir(folder).output();
    let output = output.expect("gcshim starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The words of the row of a name, under a title.
fn row(text: &str, title: &str, name: &str) -> Vec<String> {
    let group = text.split("\n\n").find(|g| g.lines().next() == Some(title)).unwrap_or_else(|| panic!("{title}:\n{text}"));
    let line = group.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("{name}:\n{group}"));
    line[name.len()..].split_whitespace().map(str::to_owned).collect()
}

#[test]
fn files_of_several_processes_are_summed_and_of_ages_the_last_count() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).expect("written");
    write("a", writing(1, 1, 9, 100) + &writing(1, 1, 10, 5));
    write("b", writing(2, 1, 79, 6));
    let text = gcshim(folder.path(), &["a", "b"]);
    assert!(text.starts_with("2 processes, 2.0 MB allocated, every block looked at\n"), "{text}");
    // 98 of 1,000 ns and 3 of 300,000.
    let expected = ["101", "6.5", "kB", "1.0", "us", "1.0", "us", "300.0", "us", "300.0", "us", "300.0", "us"];
    let found = row(&text, "lifetime", "list");
    assert_eq!(found[..3], expected[..3]);
    assert_eq!(found[3..], ["1", "us", "1", "us", "301", "us", "301", "us", "301", "us"]);
    assert_eq!(row(&text, "age of what lives", "list")[0], "11");
    assert_eq!(row(&gcshim(folder.path(), &["a", "b", "--by", "size"]), "lifetime", "64 bytes")[0], "101");
}

#[test]
fn what_was_looked_at_stands_for_what_was_not() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), writing(1, 1 << 14, 99, 1)).expect("written");
    let text = gcshim(folder.path(), &["a"]);
    // 1 / (1 - exp(-64 / 16384)) is 256.50033: 99 times that and once that, each rounded.
    assert_eq!(row(&text, "lifetime", "list")[0], "25,651");
    // Two of 64 KiB were as good as certain to be looked at: 2 / (1 - exp(-4)).
    assert_eq!(row(&text, "lifetime, in bytes allocated meanwhile", "(native memory)")[0], "2");
}

#[test]
fn a_file_that_is_cut_off_is_read_as_far_as_it_goes_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = writing(7, 1, 9, 1);
    std::fs::write(folder.path().join("a"), &whole[..whole.len() - 60]).expect("written");
    let text = gcshim(folder.path(), &["a"]);
    assert!(text.contains("what process 7 wrote is not whole"), "{text}");
    assert_eq!(row(&text, "lifetime", "list")[0], "10");
}

#[test]
fn the_page_and_the_image_show_all_names() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = writing(1, 1, 9, 1).replace(r#""type":"list""#, r#""type":"<b>Évil & co</b>""#);
    std::fs::write(folder.path().join("a"), text).expect("written");
    gcshim(folder.path(), &["a", "--html", "p.html", "--svg", "p.svg"]);
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).expect(name);
    let (page, image) = (read("p.html"), read("p.svg"));
    for text in [&page, &image] {
        assert!(text.contains("&lt;b&gt;Évil &amp; co&lt;/b&gt;") && !text.contains("<b>"), "{text}");
        assert!(text.contains("polyline") && text.contains("percentile of blocks"));
    }
    assert_eq!(page.matches("<svg").count(), 3);
}

/// The log as the `hdrhistogram` crate reads it; then as the Python package does, where pip can have it.
#[test]
fn an_interval_log_is_what_other_tools_read() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("a"), writing(1, 1, 999, 4)).expect("written");
    gcshim(folder.path(), &["a", "--log", "a.hlog"]);
    let log = std::fs::read(folder.path().join("a.hlog")).expect("a log");
    let mut found = Vec::new();
    for entry in IntervalLogIterator::new(&log) {
        let LogEntry::Interval(interval) = entry.expect("an entry") else { continue };
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, interval.encoded_histogram());
        let histogram: hdrhistogram::Histogram<u64> =
            Deserializer::new().deserialize(&mut &bytes.expect("base64")[..]).expect("a histogram");
        assert_eq!((interval.start_timestamp().as_secs(), interval.duration().as_secs()), (1_700_000_000, 2));
        let tag = interval.tag().expect("a tag").as_str().to_owned();
        found.push((tag, histogram.len(), histogram.value_at_quantile(0.5), histogram.max()));
    }
    let expected = [
        ("lifetime.ns.list".to_string(), 1000, 1003, 301_055),
        ("lifetime.bytes.(native_memory)".to_string(), 2, 0, 0),
        ("age.ns.list".to_string(), 4, 7, 7),
    ];
    assert_eq!(found, expected);

    const READ: &str = "
import sys
from hdrh.log import HistogramLogReader
from hdrh.histogram import HdrHistogram
reader = HistogramLogReader(sys.argv[1], HdrHistogram(1, 2 ** 62, 2))
while True:
    histogram = reader.get_next_interval_histogram()
    if histogram is None:
        break
    print(histogram.get_tag(), histogram.get_total_count(), histogram.get_value_at_percentile(50), histogram.get_max_value())
";
    // Where the shim's environments are kept. What is not there yet is made, if the network allows.
    let environment = shim::package().join("harness/.work/envs/hdrhistogram");
    let python = environment.join("bin/python3");
    if !python.is_file() {
        let interpreter = &interpreters::all().iter().find(|i| i.version.1 == 11).unwrap_or(&interpreters::all()[0]).path;
        let venv = Command::new(interpreter).args(["-m", "venv"]).arg(&environment).output();
        assert!(venv.is_ok_and(|o| o.status.success()), "no virtual environment");
    }
    let has = || Command::new(&python).args(["-c", "import hdrh"]).output().is_ok_and(|o| o.status.success());
    if !has() {
        let _ = Command::new(&python).args(["-m", "pip", "install", "-q", "hdrhistogram==0.10.8"]).output();
    }
    if !has() {
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), "not tested, pip does not have it: the hdrhistogram package's reading of the log");
        return;
    }
    let output = Command::new(&python).args(["-c", READ]).arg(folder.path().join("a.hlog")).output().expect("python starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<String> = expected.iter().map(|(tag, n, half, most)| format!("{tag} {n} {half} {most}")).collect();
    assert_eq!(text.lines().collect::<Vec<_>>(), lines, "{}", String::from_utf8_lossy(&output.stderr));
}
