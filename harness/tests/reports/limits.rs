//! Descriptors that are closed, resources that are short.

use crate::support::report;
use crate::{LEAK, in_shell, lines, says_leak, script};

#[test]
fn closed_standard_streams_are_nobodys_files() {
    for (redirection, says) in [("<&-", true), (">&-", true), ("<&- >&-", true), ("2>&-", false), ("<&- >&- 2>&-", false)] {
        let outcome = in_shell(&format!("exec \"$0\" -c \"$1\" {redirection}"), LEAK).run();
        assert!(outcome.succeeded() && says_leak(&outcome) == says, "{redirection}: {}", outcome.describe());
        // Whole records: no line that was meant for a person has landed among them.
        let found = report::failing(&outcome.records);
        assert!(found.len() == 1 && found[0].objects == 10, "{redirection}: {}", outcome.describe());
    }
}

#[test]
fn a_reader_that_went_away_kills_nobody() {
    let text = [LEAK, "import os\nr, w = os.pipe(); os.dup2(w, 2); os.close(w); os.close(r)"].concat();
    let outcome = script(&text).run();
    assert!(outcome.succeeded() && report::failing(&outcome.records).len() == 1, "{}", outcome.describe());
}

/// Limits that the script puts on itself, or that the shell puts on it.
fn limited(resource: &str, value: &str) -> crate::support::process::Outcome {
    script(&[LEAK, &format!("import resource\nresource.setrlimit(resource.{resource}, ({value}, {value}))")].concat()).run()
}

#[test]
fn few_descriptors_and_no_core_files_are_enough() {
    for (resource, value) in [("RLIMIT_NOFILE", "16"), ("RLIMIT_CORE", "0"), ("RLIMIT_STACK", "1 << 20"), ("RLIMIT_MEMLOCK", "0")]
    {
        let outcome = limited(resource, value);
        assert!(outcome.succeeded() && says_leak(&outcome), "{resource}: {}", outcome.describe());
        assert!(lines(&outcome).iter().all(|l| !l.contains("not done")), "{resource}: {}", outcome.describe());
    }
}

#[test]
fn without_a_descriptor_the_report_says_what_was_not_read() {
    // All are taken. What needs /proc or a report file cannot be done, and is said.
    let text = [LEAK, "import os\ntry:\n    while True: os.dup(0)\nexcept OSError: pass"].concat();
    let outcome = in_shell("ulimit -n 24; exec \"$0\" -c \"$1\"", &text).run();
    let said = lines(&outcome);
    assert!(outcome.succeeded() && !said.is_empty(), "{}", outcome.describe());
    let complete = says_leak(&outcome) && report::failing(&outcome.records).len() == 1;
    let admitted = said.iter().any(|l| l.contains("not done") || l.contains("given up") || l.contains("cannot be opened"));
    assert!(complete || admitted, "{}", outcome.describe());
}

#[test]
fn a_full_address_space_ends_the_audit_and_not_the_program() {
    for spare_mib in [0, 1, 4, 16] {
        let text = format!(
            "{LEAK}
import resource
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
limit = used + {spare_mib} * 1048576
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
raise SystemExit(6)"
        );
        let outcome = script(&text).run();
        assert_eq!(outcome.status.code(), Some(6), "{spare_mib} MiB: {}", outcome.describe());
        let given_up = lines(&outcome).iter().filter(|l| l.contains("was given up: ")).count();
        assert!(given_up == 1 || says_leak(&outcome), "{spare_mib} MiB: {}", outcome.describe());
    }
}

#[test]
fn a_user_without_processes_left_gets_a_line_and_his_programs_status() {
    // For root there is no such limit, so the script becomes somebody else first: then it cannot write the report file of this test.
    let text = [
        LEAK,
        "
import os, resource
if os.getuid() == 0:
    os.setuid(54321)
resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
try:
    os.fork()
    print('not limited', flush=True)
    os._exit(0)
except OSError:
    pass
raise SystemExit(6)
",
    ]
    .concat();
    let outcome = script(&text).env("GCSHIM_REPORT", "").run();
    if outcome.stdout.contains("not limited") {
        println!("not tested: this user's processes cannot be limited");
        return;
    }
    let wanted = "gcshim: the audit at exit was given up: the system refused to clone the process; the program is not affected";
    assert_eq!((outcome.status.code(), lines(&outcome)), (Some(6), vec![wanted]), "{}", outcome.describe());
}

#[test]
fn a_folder_that_cannot_be_written_is_no_obstacle() {
    let outcome = in_shell("cd /proc/self && exec \"$0\" -I -c \"$1\"", LEAK).run();
    assert!(outcome.succeeded() && says_leak(&outcome), "{}", outcome.describe());
}
