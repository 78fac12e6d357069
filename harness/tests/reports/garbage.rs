//! Unreachable cycles: which of them `gc` would free sooner or later, and which it never will.

use crate::support::{interpreters, report};

#[test]
fn a_cycle_that_opens_when_other_garbage_has_gone_is_garbage() {
    // A datetime is not of the collector, so what it leads to is alive to it until the datetime itself is freed: the inner cycles take the
    // collector a second turn, and a third.
    let text = "
import datetime, gc
gc.disable()
class Thing: pass
class Zone(datetime.tzinfo): pass
def ring(rest):
    thing = Thing()
    thing.itself = thing
    if rest:
        zone = Zone()
        zone.rest = rest
        thing.when = datetime.datetime(2000, 1, 1, tzinfo=zone)
    return thing
for i in range(5): ring(ring(ring(None)))
";
    for interpreter in interpreters::all() {
        let outcome = interpreter.program().with_shim().arg("-c").arg(text).run();
        let about = format!("{}: {}", interpreter.label(), outcome.describe());
        assert!(outcome.succeeded() && report::failing(&outcome.records).is_empty(), "{about}");
        let things = |finding: &serde_json::Value| -> u64 {
            let through = finding["through"].as_array().into_iter().flatten().filter(|t| t["type"] == "__main__.Thing");
            let heads = if finding["type"] == "__main__.Thing" { finding["objects"].as_u64().unwrap_or(0) } else { 0 };
            heads + through.filter_map(|t| t["objects"].as_u64()).sum::<u64>()
        };
        let found = report::of_kind(&outcome.records, "finding");
        let garbage: u64 = found.into_iter().filter(|f| f["verdict"] == "cyclic-garbage").map(things).sum();
        assert_eq!(garbage, 15, "{about}");
    }
}
