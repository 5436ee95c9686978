//! The feeds: how far those who follow are behind, and whether somebody is at it.

use super::Finding;
use super::databases::{Following, Looked, look_again};
use crate::config::{Config, Role};
use quintile_domain::ids::TenantId;
use quintile_domain::time::Instant;
use quintile_store::follower::Place;
use std::time::Duration;

/// The worker of each link of the chain: the role, the name of its place, and that of its lease.
const LINKS: [(Role, &str, &str); 4] = [
    (Role::Ingestion, "features", "features"),
    (Role::Scoring, "scores", "scores"),
    (Role::Lifecycle, "stages", "stages"),
    (Role::Segmentation, "records", "segments"),
];
/// How long whoever is behind is given to move, until it is looked again.
const PAUSE: Duration = Duration::from_secs(3);
/// How long a second look may take.
const AGAIN: Duration = Duration::from_secs(5);
/// How far business time may be behind while services run: it is written down about once a second.
const LATE: Duration = Duration::from_mins(2);
/// How far business time may be ahead of this machine's clock: as far as facts may.
const AHEAD: Duration = Duration::from_mins(5);

/// Checks every link, tenant by tenant.
pub async fn check(config: &Config, serving: &[Role], looked: &[Looked]) -> Vec<Finding> {
    let facts = looked.iter().find(|each| each.role == Role::Ingestion).and_then(|each| each.following.as_ref());
    let Some(facts) = facts.map(|following| following.facts.clone()) else { return Vec::new() };
    let links = || LINKS.iter().filter_map(|link| Some((link, of(looked, link.0)?)));
    let behind = |following: &Following, feed: &str| facts.iter().any(|fact| lag_of(following, feed, *fact) > 0);
    let is_any_behind = links().any(|(link, following)| serving.contains(&link.0) && behind(following, link.1));
    if is_any_behind {
        tokio::time::sleep(PAUSE).await;
    }
    let mut findings = Vec::new();
    let is_ahead = |following: &Following, feed: &str| facts.iter().any(|fact| ahead_of(following, feed, *fact) > 0);
    if links().any(|(link, following)| is_ahead(following, link.1)) {
        // Whoever follows may have taken in what came while we looked.
        let heads = look_again(config, Role::Ingestion).await.map(|following| following.facts).unwrap_or_default();
        for (link, following) in links() {
            findings.extend(heads.iter().filter_map(|head| ahead(link.0, following, link.1, *head)));
        }
    }
    for ((role, feed, worker), following) in links() {
        let again = is_any_behind.then(|| tokio::time::timeout(AGAIN, look_again(config, *role)));
        let later = match again {
            Some(again) => again.await.ok().flatten(),
            None => None,
        };
        for fact in &facts {
            let link =
                Link { role: *role, feed, worker, serves: serving.contains(role), frozen: config.as_of.is_some() };
            findings.push(link.finding(*fact, following, later.as_ref().unwrap_or(following)));
        }
    }
    findings
}

fn of(looked: &[Looked], role: Role) -> Option<&Following> {
    looked.iter().find(|each| each.role == role)?.following.as_ref()
}

fn place_of(following: &Following, tenant: TenantId, feed: &str) -> Option<Place> {
    following.places.iter().find(|(of, name, _)| *of == tenant && name == feed).map(|(.., place)| place.clone())
}

/// How many commits of facts are not in.
fn lag_of(following: &Following, feed: &str, (tenant, head): (TenantId, i64)) -> i64 {
    (head - place_of(following, tenant, feed).map_or(0, |place| place.facts_position)).max(0)
}

/// How many commits a place is beyond the last of the facts.
fn ahead_of(following: &Following, feed: &str, (tenant, head): (TenantId, i64)) -> i64 {
    (place_of(following, tenant, feed).map_or(0, |place| place.facts_position) - head).max(0)
}

/// What is told of a service that has taken in more than there is.
fn ahead(role: Role, following: &Following, feed: &str, fact: (TenantId, i64)) -> Option<Finding> {
    let commits = ahead_of(following, feed, fact);
    let todo = "restore all databases of one backup: these are of several moments, and what comes next would be missed";
    let subject = format!("{}, tenant {}", role.service(), fact.0.0);
    (commits > 0).then(|| Finding::fail("feed", subject, format!("{commits} commits ahead of the facts"), todo))
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

struct Link<'a> {
    role: Role,
    feed: &'a str,
    worker: &'a str,
    serves: bool,
    frozen: bool,
}

impl Link<'_> {
    fn finding(&self, fact: (TenantId, i64), before: &Following, after: &Following) -> Finding {
        let tenant = fact.0;
        let subject = format!("{}, tenant {}", self.role.service(), tenant.0);
        let place = place_of(after, tenant, self.feed).unwrap_or_default();
        let reached = Instant::from_micros(place.time_micros);
        let lag = lag_of(after, self.feed, fact);
        let told = if place.time_micros == 0 {
            format!("{lag} commits of facts behind, no business time yet")
        } else {
            format!("{lag} commits of facts behind, true as of {reached}")
        };
        if !self.frozen && reached.micros() > after.now.micros() + micros(AHEAD) {
            let todo = "set the clock; if the data was served with --as-of, serve it with that or a later instant";
            return Finding::fail("feed", subject, format!("{told}, which this machine's clock has not come to"), todo);
        }
        if !self.serves {
            return Finding::ok("feed", subject, format!("{told}; goes on when the service runs"));
        }
        let lease = after.leases.iter().find(|lease| lease.name == format!("{}/{}", self.worker, tenant.0));
        if lease.is_none_or(|lease| lease.expires_at < after.now) {
            let todo = "nothing within the next seconds, in which a replica takes it; else look at the service's log";
            return Finding::warn("feed", subject, format!("{told}; no worker holds the lease"), todo);
        }
        let moved = place_of(before, tenant, self.feed) != place_of(after, tenant, self.feed);
        if lag > 0 && !moved {
            let todo = "wait while facts are loaded in bulk; else look at the service's log for a worker that starts again and again";
            return Finding::warn("feed", subject, format!("{told}; not moved for {} s", PAUSE.as_secs()), todo);
        }
        if !self.frozen && place.time_micros > 0 && reached.micros() + micros(LATE) < after.now.micros() {
            let todo = "look at the log of this service, and of those before it in the chain";
            return Finding::warn("feed", subject, format!("{told}: late"), todo);
        }
        Finding::ok("feed", subject, told)
    }
}
