//! What trainings are to foretell: what was asked for, and what a model that is trained anew was trained for.

use super::Label;
use quintile_proto::lifecycle::ChurnModel;

/// What a training is to foretell.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// Who does not order in so many days.
    Horizon(i32),
    /// Who has left by a label.
    Label(Label),
}

impl Target {
    /// That of a model. `None`: it is malformed.
    pub fn of(model: &ChurnModel) -> Option<Self> {
        match model.label {
            Some(_) => Label::of(model).map(Self::Label),
            None => Some(Self::Horizon(model.horizon_days)),
        }
    }

    /// A model of which nothing else is told yet. The classes of a label go with it: they are those that whoever asked may learn from.
    pub fn model(&self) -> ChurnModel {
        match self {
            Self::Horizon(days) => ChurnModel { horizon_days: *days, ..ChurnModel::default() },
            Self::Label(label) => label.told_in(ChurnModel::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quintile_domain::masking::Sensitivity;
    use quintile_proto::lifecycle::ChurnLabel;

    #[test]
    fn a_model_tells_what_it_was_trained_for() {
        let features = vec!["attributes/plan".to_owned(), "attributes/fee".to_owned()];
        let told = ChurnLabel { attribute: "attributes/churn".to_owned(), left_value: "Yes".to_owned(), features };
        let classes = vec![Sensitivity::None, Sensitivity::Financial];
        let label = Label { told, class: Sensitivity::Demographic, classes };
        for target in [Target::Horizon(90), Target::Label(label.clone())] {
            assert_eq!(Target::of(&target.model()), Some(target));
        }
        // Without its classes it is not taken for a model of orders.
        let malformed = ChurnModel { label_sensitivity: 0, ..label.told_in(ChurnModel::default()) };
        assert_eq!(Target::of(&malformed), None);
    }
}
