//! Labels of churn models, for people: attributes that tell who has left.

use crate::output::thousands;
use clap::Args;
use quintile_proto::lifecycle::{ChurnEvaluation, ChurnLabel, ChurnModel};

/// Who has left, where an attribute tells it.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// `attributes/{id}`, or the id: the attribute that tells who has left
    #[arg(long, value_name = "NAME", requires = "left_value", requires = "features")]
    label: Option<String>,
    /// Its value of those who have left, such as `Yes`
    #[arg(long, value_name = "VALUE", requires = "label")]
    left_value: Option<String>,
    /// The attributes to learn from, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "label")]
    features: Vec<String>,
}

impl LabelArgs {
    /// The label, if one is named.
    pub fn message(self) -> Option<ChurnLabel> {
        Some(ChurnLabel {
            attribute: attribute_name(&self.label?),
            left_value: self.left_value.unwrap_or_default(),
            features: self.features.iter().map(|name| attribute_name(name)).collect(),
        })
    }
}

/// The name of an attribute, from its own or its id.
fn attribute_name(attribute: &str) -> String {
    format!("attributes/{}", attribute.trim_start_matches("attributes/"))
}

/// Whom a model takes to have left.
pub fn who_leaves(model: &ChurnModel) -> String {
    match &model.label {
        Some(ChurnLabel { attribute, left_value, .. }) => format!("{} = {left_value}", short(attribute)),
        None => format!("no order in {} days", model.horizon_days),
    }
}

/// An attribute as people write it, and every other feature as it is.
pub fn short(feature: &str) -> &str {
    feature.trim_start_matches("attributes/")
}

/// What a model was judged by, where by folds.
pub fn folds(evaluation: &ChurnEvaluation) -> String {
    let [customers, left] = [evaluation.customers, evaluation.left].map(|count| thousands(count.unsigned_abs()));
    let folds = evaluation.folds;
    format!(
        "Of {customers} customers {left} have left. It was judged by {folds} folds of them, each foretold by what the others teach."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_known_by_its_id_and_shown_by_it() {
        for attribute in ["tenure", "attributes/tenure"] {
            assert_eq!(attribute_name(attribute), "attributes/tenure");
        }
        assert_eq!((short("attributes/tenure"), short("orders_30")), ("tenure", "orders_30"));
        let label =
            ChurnLabel { attribute: "attributes/churn".to_owned(), left_value: "Yes".to_owned(), features: vec![] };
        assert_eq!(who_leaves(&ChurnModel { label: Some(label), ..ChurnModel::default() }), "churn = Yes");
        assert_eq!(who_leaves(&ChurnModel { horizon_days: 90, ..ChurnModel::default() }), "no order in 90 days");
    }
}
