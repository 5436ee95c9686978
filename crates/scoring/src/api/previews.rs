//! Dry runs: what a version would mean for all customers.

use super::check_rights;
use super::score_models::{message, version_in};
use super::versions;
use crate::encoding;
use crate::fitting::{self, Stopped};
use crate::models::{At, Definition, Dimension, MAX_DIMENSIONS, RFM, Scale, Scored};
use crate::population::dry_run::{self, Counts, DimensionCounts, GradeCounts, Scores};
use crate::population::{Population, features_of};
use crate::store::fits::Stored;
use crate::store::models::{self, Version};
use crate::value::encoding::model_of;
use crate::worker::conventions;
use crate::{Service, refused};
use quintile_chain::listening::{self, Listener};
use quintile_chain::store_error;
use quintile_domain::time::Instant;
use quintile_proto::scoring::{
    CustomerCells, CustomerScores, DimensionPreview, GradePreview, PreviewProgress, PreviewScoreModelVersionRequest,
    PreviewScoreModelVersionResponse, PreviewSummary, ScoreCell, ScoreCounts, ScoreModelPreview, ScoreModelState,
    ScoreMove, ValueModel,
};
use quintile_proto::types::Grade;
use quintile_rpc::policy::Tenant;
use quintile_rpc::{AnswerStream, ApiError, Caller, convert};
use quintile_store::{StoreError, failpoint, records};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::sync::OwnedMutexGuard;

/// The customers of one response, each with a byte by the version and one by the version in force.
const CUSTOMERS_PER_PART: usize = 1 << 20;

/// What a dry run is of.
struct Everybody {
    population: OwnedMutexGuard<Population>,
    /// Of the feed that was read.
    position: i64,
    as_of: Instant,
    in_force: Option<Version>,
    /// The name of the model of lifetime value.
    value_model: String,
}

/// What a dry run has found.
struct Found {
    definition: Definition,
    counts: Counts,
    /// By the version, and by the one in force.
    cells: Option<[Vec<u8>; 2]>,
    scores: Vec<Column>,
}

/// The scores of everybody in one dimension, or everybody's composites.
struct Column {
    /// The place of the dimension, from 1. 0: these are composites.
    place: usize,
    /// By the version, and by the one in force.
    scores: [Vec<u8>; 2],
    /// What composites amount to.
    grades: [Vec<Grade>; 2],
}

/// The places of dimensions whose scores are to be streamed; 0: composites.
fn places(asked: &[i32]) -> Result<Vec<usize>, ApiError> {
    let places: Vec<_> = asked.iter().filter_map(|place| usize::try_from(*place).ok()).collect();
    let are_places = places.len() == asked.len() && places.iter().all(|place| *place <= MAX_DIMENSIONS);
    let once = places.iter().collect::<HashSet<_>>().len() == asked.len();
    let wrong = format!("must be places of dimensions, 1 to {MAX_DIMENSIONS}, or 0, each once");
    if are_places && once { Ok(places) } else { Err(ApiError::invalid_field("include_scores", wrong)) }
}

/// Bytes of everybody in parts: the first customer's number, and the bytes by the version and by the one in force.
fn parts([bytes, in_force]: &[Vec<u8>; 2]) -> impl Iterator<Item = (i64, Vec<u8>, Vec<u8>)> {
    // Numbers start at 1.
    let [bytes, in_force] = [bytes, in_force].map(|bytes| bytes.get(1..).unwrap_or_default());
    let mut in_force = in_force.chunks(CUSTOMERS_PER_PART);
    bytes.chunks(CUSTOMERS_PER_PART).enumerate().map(move |(index, part)| {
        let first_customer_id = (index * CUSTOMERS_PER_PART + 1) as i64;
        (first_customer_id, part.to_vec(), in_force.next().unwrap_or_default().to_vec())
    })
}

/// Begins a dry run; whoever stops reading ends it.
pub async fn preview(
    service: Service,
    caller: Caller,
    request: PreviewScoreModelVersionRequest,
) -> Result<AnswerStream<PreviewScoreModelVersionResponse>, ApiError> {
    version_in("name", &request.name)?;
    let version = versions::get(&service, &caller, &request.name).await?;
    check_rights(&service, &caller, &version.definition).await?;
    if request.include_cells && version.definition.cells() > 255 {
        return Err(refused("the version has more than 255 cells"));
    }
    let include_scores = places(&request.include_scores)?;
    caller.is_about(request.name.clone());
    let include_cells = request.include_cells;
    let preview = Preview { service, caller: caller.clone(), version, include_cells, include_scores };
    Ok(listening::stream(caller, progress, |listener| preview.run(listener)))
}

fn progress(progress: PreviewProgress) -> PreviewScoreModelVersionResponse {
    PreviewScoreModelVersionResponse { progress: Some(progress), ..Default::default() }
}

struct Preview {
    service: Service,
    caller: Caller,
    version: Version,
    include_cells: bool,
    include_scores: Vec<usize>,
}

impl Preview {
    async fn run(
        self,
        mut listener: Listener<PreviewScoreModelVersionResponse, PreviewProgress>,
    ) -> Result<(), Stopped> {
        let tenant = self.caller.tenant();
        let Everybody { population, position, as_of, in_force, value_model } = self.everybody(&mut listener).await?;
        failpoint::reach("previews", "before_scored").await;
        // Who went away while others had their turn leaves it to the next.
        listener.check()?;
        let is_draft = self.version.state == ScoreModelState::Draft;
        let run = Run {
            population,
            tenant: tenant.clone(),
            as_of,
            definition: self.version.definition.clone(),
            in_force: in_force.as_ref().map(|version| version.definition.clone()),
            find: is_draft,
            include_cells: self.include_cells,
            include_scores: self.include_scores.clone(),
        };
        let found = tokio::task::spawn_blocking(move || run.run()).await;
        let found = found.map_err(|error| Some(ApiError::internal(error.to_string())))?;
        self.check(&found.definition)?;
        let summary = PreviewSummary {
            customers: found.counts.customers,
            changed_customers: found.counts.changed,
            as_of: Some(convert::timestamp(as_of)),
            position,
            dimensions: counts_of(&found.definition, &found.counts),
            value_model,
        };
        listener.check()?;
        let version = if is_draft { self.keep(&found.definition, summary).await? } else { self.version.clone() };
        let preview = self.message(&version, in_force.as_ref(), &found);
        let response = PreviewScoreModelVersionResponse { preview: Some(preview), ..Default::default() };
        listener.send(response).await?;
        for (first_customer_id, cells, cells_in_force) in parts(&found.cells.unwrap_or_default()) {
            let cells = Some(CustomerCells { first_customer_id, cells, cells_in_force });
            listener.send(PreviewScoreModelVersionResponse { cells, ..Default::default() }).await?;
        }
        for column in &found.scores {
            let [grades, grades_in_force] = &column.grades;
            for (first_customer_id, scores, scores_in_force) in parts(&column.scores) {
                let scores = CustomerScores {
                    first_customer_id,
                    place: column.place as i32,
                    scores,
                    scores_in_force,
                    grades: grades.clone(),
                    grades_in_force: grades_in_force.clone(),
                };
                let response = PreviewScoreModelVersionResponse { scores: Some(scores), ..Default::default() };
                listener.send(response).await?;
            }
        }
        Ok(())
    }

    /// The business time that the records are true for.
    fn as_of(&self) -> Instant {
        let watermark = self.service.runtime.progress.of(self.caller.tenant().id).watermark();
        watermark.time.unwrap_or_else(|| self.service.runtime.business.now())
    }

    /// Everybody, and what scores them, as of when the turn has come.
    async fn everybody(
        &self,
        listener: &mut Listener<PreviewScoreModelVersionResponse, PreviewProgress>,
    ) -> Result<Everybody, Stopped> {
        let failed = |error: StoreError| Some(store_error(&error));
        let tenant = self.caller.tenant();
        let database = &self.service.runtime.database;
        let mut population = self.service.populations.of(tenant.id).lock_owned().await;
        let customers = records::last(database.reader(), tenant.id).await.map_err(failed)?;
        let in_force = models::published(database.reader(), tenant.id).await.map_err(failed)?;
        let in_force = in_force.into_iter().find(|version| version.model == self.version.model);
        let as_of = self.as_of();
        let definitions = [Some(&self.version.definition), in_force.as_ref().map(|version| &version.definition)];
        let features = features_of(definitions.into_iter().flatten());
        let mut told = |read: u64| {
            let customers_read = read as i64;
            listener.tell(PreviewProgress { customers_read, customers })
        };
        let valuing = fitting::in_force::<ValueModel>(&self.service, tenant.id).await?;
        let value_model = valuing.as_ref().map(Stored::name).unwrap_or_default();
        let valuing = valuing.and_then(|stored| model_of(&stored.body));
        let at = At::new(as_of, conventions(tenant)).valued_by(valuing.as_ref());
        let position = population.update(database, tenant.id, &features, &at, &mut told).await.map_err(failed)?;
        Ok(Everybody { population, position: position.ok_or(None)?, as_of, in_force, value_model })
    }

    /// A version that scores nobody, or labels that nobody could have, are a mistake.
    fn check(&self, definition: &Definition) -> Result<(), Stopped> {
        let cannot = |dimension: &&Dimension| !dimension.scale.is_ready();
        let without = definition.dimensions.iter().filter(cannot).count();
        match definition.dimensions.iter().find(cannot) {
            Some(first) if self.version.model == RFM || without == definition.dimensions.len() => {
                let problem = format!("nobody has a value of {}, so there are no cut-offs to find", first.name);
                Err(Some(refused(problem)))
            }
            _ => Ok(()),
        }
    }

    /// Keeps a preview with its draft, and the cut-offs that it found.
    async fn keep(&self, definition: &Definition, summary: PreviewSummary) -> Result<Version, Stopped> {
        let failed = |error: StoreError| Some(store_error(&error));
        let (tenant, database) = (self.caller.tenant(), &self.service.runtime.database);
        let transaction = database.begin().await.map_err(failed)?;
        let revision = models::begin_change(&transaction, tenant.id).await.map_err(failed)?;
        let (model, number) = (&self.version.model, self.version.number);
        let found = models::get(&transaction, tenant.id, model, number).await.map_err(failed)?;
        let draft = found.ok_or_else(|| Some(ApiError::not_found()))?;
        if draft.revision != self.version.revision {
            // Published, or previewed by somebody else, while this one went on.
            return Err(Some(ApiError::stale_etag()));
        }
        let version = Version { definition: definition.clone(), preview: Some(summary), revision, ..draft };
        let kept = async {
            models::write(&transaction, tenant, &version).await?;
            Ok(transaction.commit().await?)
        };
        kept.await.map_err(failed)?;
        Ok(version)
    }

    fn message(&self, version: &Version, in_force: Option<&Version>, found: &Found) -> ScoreModelPreview {
        let baseline = in_force.and_then(|version| version.preview.as_ref());
        let dimensions = found.definition.dimensions.iter().zip(&found.counts.dimensions);
        let dimensions = dimensions.map(|(dimension, counts)| {
            let of_dimension = |counts: &&ScoreCounts| counts.dimension == dimension.name;
            let baseline = baseline.and_then(|baseline| baseline.dimensions.iter().find(of_dimension));
            let repeated = match &dimension.scale {
                Scale::Numbers(cut_offs) => cut_offs.repeated(),
                Scale::Texts(_) => 0,
            };
            dimension_message(&dimension.name, counts, baseline, repeated)
        });
        let currency = self.caller.tenant().currency;
        let cells = found.counts.cells.iter().map(|(scores, cell)| ScoreCell {
            scores: scores.iter().map(|score| i32::from(*score)).collect(),
            customers: cell.customers,
            revenue: Some(convert::money(currency, cell.revenue_minor)),
            mean_lifetime_value: cell.mean_value_minor().map(|minor| convert::money(currency, minor)),
            valued_customers: cell.valued,
        });
        ScoreModelPreview {
            version: Some(message(&self.caller, version)),
            dimensions: dimensions.collect(),
            cells: cells.collect(),
            grades: found.counts.grades.as_ref().map(grades_message),
        }
    }
}

/// A dry run, once everybody is in memory.
struct Run {
    population: OwnedMutexGuard<Population>,
    tenant: Arc<Tenant>,
    as_of: Instant,
    definition: Definition,
    in_force: Option<Definition>,
    /// Whether cut-offs are to be found anew, or stay as they were frozen.
    find: bool,
    include_cells: bool,
    include_scores: Vec<usize>,
}

impl Run {
    fn run(mut self) -> Found {
        let at = At::new(self.as_of, conventions(&self.tenant));
        if self.find {
            dry_run::find_cut_offs(&mut self.definition, &self.population, &at);
        }
        let scores = Scores::new(&self.definition, &self.population, &at);
        let of_other = self.in_force.as_ref().map(|other| Scores::new(other, &self.population, &at));
        let in_force = self.in_force.as_ref().zip(of_other.as_ref());
        let counts = dry_run::count((&self.definition, &scores), in_force, &self.population, &at);
        let present = self.population.present();
        let cells = self.include_cells.then(|| scores.cells(&self.definition, present)).flatten();
        let cells_in_force = || in_force.and_then(|(other, scores)| scores.cells(other, present)).unwrap_or_default();
        let cells = cells.map(|cells| [cells, cells_in_force()]);
        let column = |place: &usize| Column {
            place: *place,
            scores: [
                scores.column(&self.definition, *place, present),
                in_force.map(|(other, scores)| scores.column(other, *place, present)).unwrap_or_default(),
            ],
            grades: [Some(&self.definition), self.in_force.as_ref()]
                .map(|definition| definition.filter(|_| *place == 0).map(grades).unwrap_or_default()),
        };
        let scores = self.include_scores.iter().map(column).collect();
        Found { definition: self.definition, counts, cells, scores }
    }
}

/// What composites from 0 to 100 amount to. Empty: no grade is made.
fn grades(definition: &Definition) -> Vec<Grade> {
    let of = |composite| encoding::grade(definition, &Scored { composite: Some(composite), ..Scored::default() });
    (0..=100).filter_map(of).collect()
}

fn counts_of(definition: &Definition, counts: &Counts) -> Vec<ScoreCounts> {
    let each = definition.dimensions.iter().zip(&counts.dimensions);
    let each = each.map(|(dimension, counts)| ScoreCounts {
        dimension: dimension.name.clone(),
        customers: counts.customers.clone(),
    });
    each.collect()
}

fn dimension_message(
    name: &str,
    counts: &DimensionCounts,
    baseline: Option<&ScoreCounts>,
    repeated: usize,
) -> DimensionPreview {
    let stability_index = baseline
        .zip(counts.before.as_ref())
        .and_then(|(baseline, before)| dry_run::stability_index(&baseline.customers, before));
    let moves = counts.moves.iter().map(|((from, to), customers)| ScoreMove {
        from: i32::from(*from),
        to: i32::from(*to),
        customers: *customers,
    });
    DimensionPreview {
        dimension: name.to_owned(),
        customers: counts.customers.clone(),
        repeated_cut_offs: repeated as i32,
        stability_index,
        moves: moves.collect(),
    }
}

fn grades_message(grades: &GradeCounts) -> GradePreview {
    GradePreview {
        composites: grades.composites.clone(),
        bands: grades.bands.clone(),
        tiers: grades.tiers.to_vec(),
        vips: grades.vips,
        ungraded: grades.ungraded,
        changed_customers: grades.changed,
    }
}
