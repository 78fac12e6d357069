//! What a finding is called.

use core::fmt::Write;

use super::census::Census;
use super::findings::{Finding, Holder};
use crate::meta::{Array, Zeroed};
use crate::python::naming::{Name, Preview, Text};
use crate::python::types::Species;
use crate::roots::Kind;

impl Census {
    /// The name of a type; for address 0 or 1, of no type: a native block.
    pub fn type_label(&mut self, address: usize) -> Name {
        let gil = self.gil;
        match &mut self.model {
            Some(model) if address > 1 => model.type_name(address, gil),
            _ => {
                let mut name = Name::default();
                name.push(b"native block");
                name
            }
        }
    }

    /// The label of a finding: the type's name; `type X` where the one object is itself the type X; a block's size.
    pub fn label(&mut self, finding: &Finding) -> Name {
        if finding.key.type_address == 0 {
            let mut name = Name::default();
            let _ = write!(name, "block of {} bytes", finding.key.what);
            return name;
        }
        let gil = self.gil;
        if finding.single
            && let Some(model) = &mut self.model
            && model.info(finding.key.what).is_some_and(|t| t.species == Species::Type)
        {
            let mut name = Name::default();
            name.push(b"type ");
            name.push(model.type_name(finding.key.what, gil).as_bytes());
            return name;
        }
        self.type_label(finding.key.type_address)
    }

    /// The label of a holder.
    pub fn holder_label(&mut self, holder: Holder) -> Name {
        let mut name = Name::default();
        match holder.class {
            1 => return self.type_label(holder.value),
            2 => _ = write!(name, "native block of {} bytes", holder.value),
            _ => name.push(Kind::from_number(holder.value).map_or("?", Kind::name).as_bytes()),
        }
        name
    }
}

/// The labels of all findings, made once, and which of them are suppressed.
pub struct Labels {
    names: Array<Label>,
}

#[derive(Clone, Copy)]
struct Label {
    name: Name,
    suppressed: bool,
}

// SAFETY: an empty text and `false` are zeros.
unsafe impl Zeroed for Label {}

impl Labels {
    /// Labels every finding.
    pub fn new(census: &mut Census) -> Option<Labels> {
        let count = census.findings.all().len();
        let mut labels = Labels { names: Array::new(count.max(1))? };
        for at in 0..count {
            let finding = census.findings.all()[at];
            labels.names[at].name = census.label(&finding);
        }
        Some(labels)
    }

    /// The label of the finding at this index.
    pub fn get(&self, at: usize) -> &Name {
        &self.names[at].name
    }

    /// Leaves the finding out.
    pub fn suppress(&mut self, at: usize) {
        self.names[at].suppressed = true;
    }

    /// Whether it is left out.
    pub fn suppressed(&self, at: usize) -> bool {
        self.names[at].suppressed
    }
}

impl Census {
    /// What could not be done, to be read while names are made.
    pub fn degraded_copy(&self) -> [super::census::Degraded; 32] {
        self.degraded
    }

    /// The sentence, with the type's name in its place.
    pub fn degraded_text(&mut self, degraded: &super::census::Degraded) -> Text<320> {
        let mut text = Text::default();
        match degraded.what.split_once("%T") {
            Some((before, after)) => {
                let name = self.type_label(degraded.type_address);
                text.push(before.as_bytes());
                text.push(name.as_bytes());
                text.push(after.as_bytes());
            }
            None => text.push(degraded.what.as_bytes()),
        }
        text
    }

    /// A preview of a finding's example; empty for a native block.
    pub fn preview(&mut self, finding: &Finding, address: usize) -> Preview {
        let gil = self.gil;
        match &mut self.model {
            Some(model) if finding.key.type_address != 0 => model.preview(address, gil),
            _ => Preview::default(),
        }
    }
}
