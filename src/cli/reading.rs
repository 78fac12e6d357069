//! From lines to processes, audits and findings. A report may hold several of each, may have been cut off anywhere, and may have
//! been appended to after that.

use serde::Serialize;

use super::record::{Audit, Degraded, Finding, Module, Process, Record, Summary, Suppressed};
use super::verdicts;

/// The record format that this program knows.
const SCHEMA: &str = "gcshim/1";

/// Everything that was read.
#[derive(Serialize, Default)]
pub struct Report {
    pub processes: Vec<ProcessReport>,
    /// What could not be read, a line each.
    pub notes: Vec<String>,
}

/// One process and its audits, oldest first.
#[derive(Serialize)]
pub struct ProcessReport {
    #[serde(flatten)]
    pub process: Process,
    pub audits: Vec<AuditReport>,
}

/// One audit and all that it found.
#[derive(Serialize, Default)]
pub struct AuditReport {
    #[serde(flatten)]
    pub audit: Audit,
    pub findings: Vec<Finding>,
    pub suppressed: Vec<Suppressed>,
    pub degraded: Vec<Degraded>,
    pub modules: Vec<Module>,
    /// Missing when the audit was cut off.
    pub summary: Option<Summary>,
}

impl AuditReport {
    /// How many findings fail: what the findings say, or what the summary says when findings were lost.
    pub fn failing(&self) -> u64 {
        let counted = self.findings.iter().filter(|f| f.failing).count() as u64;
        counted.max(self.summary.as_ref().and_then(|s| s.failing).unwrap_or(0))
    }
}

impl Report {
    /// Reads one file's bytes. `name` is how notes call it. What cannot be read is one note, never an error.
    pub fn add(&mut self, name: &str, bytes: &[u8]) {
        let first = self.processes.len();
        let mut unreadable = Vec::new();
        let whole = bytes.is_empty() || bytes.ends_with(b"\n");
        let lines: Vec<&[u8]> = bytes.split(|b| *b == b'\n').collect();
        let last = lines.len();
        for (number, line) in (1..).zip(lines) {
            let line = String::from_utf8_lossy(line);
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let (record, clean) = parse(line);
            if let Some(record) = record {
                self.take(name, first, record);
            }
            if !clean && number == last && !whole {
                self.notes.push(format!("{name}: the last line is cut off"));
            } else if !clean {
                unreadable.push(number);
            }
        }
        match unreadable.as_slice() {
            [] => {}
            [line] => self.notes.push(format!("{name}: line {line} is not a record")),
            [line, ..] => {
                self.notes.push(format!("{name}: {} lines are not records, the first is line {line}", unreadable.len()))
            }
        }
    }

    /// Adds one record. `first` is the first process of the file that is being read: a record without a process of its own
    /// must not fall to the file before.
    fn take(&mut self, name: &str, first: usize, record: Record) {
        if let Record::Process(process) = record {
            if let Some(schema) = process.schema.as_ref().filter(|s| *s != SCHEMA) {
                self.notes.push(format!("{name}: written as {schema}, read as {SCHEMA}"));
            }
            // A process that audits several times may introduce itself each time.
            if self.processes.get(first..).and_then(<[_]>::last).is_none_or(|p| p.process != process) {
                self.processes.push(ProcessReport { process, audits: Vec::new() });
            }
            return;
        }
        if matches!(record, Record::Unknown | Record::Process(_)) {
            return;
        }
        if self.processes.len() == first {
            self.processes.push(ProcessReport { process: Process::default(), audits: Vec::new() });
        }
        let Some(process) = self.processes.last_mut() else { return };
        if let Record::Audit(audit) = record {
            process.audits.push(AuditReport { audit, ..AuditReport::default() });
            return;
        }
        if process.audits.is_empty() {
            process.audits.push(AuditReport::default());
        }
        let Some(audit) = process.audits.last_mut() else { return };
        match record {
            Record::Module(module) => audit.modules.push(module),
            Record::Finding(finding) => audit.findings.push(finding),
            Record::Suppressed(suppressed) => audit.suppressed.push(suppressed),
            Record::Degraded(degraded) => audit.degraded.push(degraded),
            Record::Summary(summary) => audit.summary = Some(summary),
            Record::Process(_) | Record::Audit(_) | Record::Unknown => {}
        }
    }

    /// Orders the findings: failing before information, what will crash before what leaks, then the largest first.
    pub fn finish(&mut self) {
        for audit in self.processes.iter_mut().flat_map(|p| &mut p.audits) {
            audit.findings.sort_by(|a, b| {
                let key = |f: &Finding| {
                    (f.failing, verdicts::of(&f.verdict).crashes, f.bytes, f.references.map(i64::unsigned_abs), f.objects)
                };
                key(b).cmp(&key(a)).then_with(|| a.type_name.cmp(&b.type_name))
            });
        }
    }

    /// All audits, with their processes.
    pub fn audits(&self) -> impl Iterator<Item = (&Process, &AuditReport)> {
        self.processes.iter().flat_map(|p| p.audits.iter().map(|a| (&p.process, a)))
    }

    /// How many findings fail.
    pub fn failing(&self) -> u64 {
        self.audits().map(|(_, audit)| audit.failing()).sum()
    }
}

/// A line's record, and whether the line was nothing but that. A process that died while writing leaves half a line, and the next
/// one to append writes its first record behind it: that record is still read.
fn parse(line: &str) -> (Option<Record>, bool) {
    if let Ok(record) = serde_json::from_str(line) {
        return (Some(record), true);
    }
    let starts = ["{\"schema\":", "{\"kind\":"];
    let mut candidates: Vec<usize> =
        starts.iter().flat_map(|s| line.match_indices(s).map(|(at, _)| at)).filter(|at| *at > 0).collect();
    candidates.sort_unstable();
    (candidates.into_iter().find_map(|at| serde_json::from_str(&line[at..]).ok()), false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Report {
        let mut report = Report::default();
        report.add("r", text.as_bytes());
        report.finish();
        report
    }

    #[test]
    fn a_record_behind_a_torn_one_is_read() {
        let report = read("{\"kind\":\"finding\",\"verd{\"schema\":\"gcshim/1\",\"kind\":\"process\",\"pid\":7}\n");
        assert_eq!(report.processes.len(), 1);
        assert_eq!(report.processes[0].process.pid, Some(7));
        assert_eq!(report.notes, ["r: line 1 is not a record"]);
    }

    #[test]
    fn a_process_that_introduces_itself_twice_is_one() {
        let line = "{\"kind\":\"process\",\"pid\":7}\n{\"kind\":\"audit\",\"trigger\":\"signal\"}\n";
        let report = read(&line.repeat(2));
        assert_eq!(report.processes.len(), 1);
        assert_eq!(report.processes[0].audits.len(), 2);
    }

    #[test]
    fn a_record_without_a_process_does_not_fall_to_the_file_before() {
        let mut report = read("{\"kind\":\"process\",\"pid\":7}\n{\"kind\":\"audit\"}\n");
        report.add("other", b"{\"kind\":\"finding\",\"verdict\":\"leaked-object\"}\n");
        assert_eq!(report.processes.len(), 2);
        assert_eq!(report.processes[0].audits[0].findings.len(), 0);
        assert_eq!(report.processes[1].audits[0].findings.len(), 1);
    }

    #[test]
    fn failing_counts_lost_findings_too() {
        let report = read("{\"kind\":\"audit\"}\n{\"kind\":\"summary\",\"findings\":2,\"failing\":2}\n");
        assert_eq!(report.failing(), 2);
    }

    #[test]
    fn an_address_is_text_or_a_number_and_bad_text_is_no_record() {
        let report =
            read("{\"kind\":\"module\",\"name\":\"x\",\"base\":\"0x10\",\"end\":32}\n{\"kind\":\"module\",\"base\":\"zz\"}\n");
        let modules = &report.processes[0].audits[0].modules;
        assert_eq!(modules.len(), 1);
        assert_eq!((modules[0].base.unwrap().0, modules[0].end.unwrap().0), (16, 32));
        assert_eq!(report.notes, ["r: line 2 is not a record"]);
    }
}
