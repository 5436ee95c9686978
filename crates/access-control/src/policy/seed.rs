//! The seeded roles, as data. What is not written here is denied: a method that is not listed, and a class of fields that has no
//! form. There are no patterns on purpose: a new method is nobody's until somebody writes it down.

use quintile_proto::access::MaskForm::{self, Clear, Partial, Year};
use quintile_proto::types::Sensitivity::{
    self, Address, BankCard, BirthDate, Demographic, Email, Financial, FreeText, IdNumber, IpAddress, LicensePlate,
    Location, Name, Phone, Pseudonym,
};

/// One role.
pub struct SeededRole {
    /// Its name, as tokens state it.
    pub name: &'static str,
    /// The methods that it may call, by service.
    pub methods: &'static [(&'static str, &'static [&'static str])],
    /// The forms in which it sees fields; a class that is not listed is redacted.
    pub forms: &'static [(Sensitivity, MaskForm)],
}

/// The roles.
pub const ROLES: [SeededRole; 4] = [ADMIN, SERVICE, ANALYST, SUPPORT];

const EVERYTHING_CLEAR: [(Sensitivity, MaskForm); 14] = [
    (Name, Clear),
    (Phone, Clear),
    (Email, Clear),
    (Address, Clear),
    (IdNumber, Clear),
    (BankCard, Clear),
    (BirthDate, Clear),
    (IpAddress, Clear),
    (LicensePlate, Clear),
    (FreeText, Clear),
    (Financial, Clear),
    (Location, Clear),
    (Demographic, Clear),
    (Pseudonym, Clear),
];

/// Runs the installation: may do everything.
const ADMIN: SeededRole = SeededRole {
    name: "admin",
    methods: &[
        ("quintile.access.v1.PolicyService", &["GetPolicy", "WatchPolicy"]),
        ("quintile.access.v1.TenantService", &["CreateTenant", "ListTenants"]),
        // The edge lets everybody through to this service; whose token is good for another one is the handler's to say.
        ("quintile.access.v1.TokenService", &["IssueToken", "GetJwks"]),
        ("quintile.ingestion.v1.ClockService", &["GetAsOf", "SetAsOf"]),
        (
            "quintile.ingestion.v1.CustomerService",
            &["CreateCustomer", "GetCustomer", "UpdateCustomer", "ListCustomers", "LookupCustomer"],
        ),
        ("quintile.ingestion.v1.FeatureService", &["GetFeatures", "WatchFeatures"]),
        ("quintile.ingestion.v1.IngestService", &["Ingest", "IngestBatch", "GetIngestStream", "ListRejects"]),
        ("quintile.lifecycle.v1.StageService", &["GetStage", "GetFunnel", "WatchStages"]),
        ("quintile.scoring.v1.ScoreModelService", &["GetScoreModel", "ListScoreModels"]),
        ("quintile.scoring.v1.ScoreService", &["GetScore", "BatchGetScores", "ExplainScore", "WatchScores"]),
        ("quintile.segmentation.v1.LabelService", &["GetLabelSet", "GetLabelDistribution"]),
        ("quintile.segmentation.v1.ProfileService", &["GetProfile"]),
        (
            "quintile.segmentation.v1.SegmentService",
            &[
                "CreateSegment",
                "GetSegment",
                "ListSegments",
                "DeleteSegment",
                "PreviewSegment",
                "ListMembers",
                "CheckMembers",
                "WatchMemberships",
            ],
        ),
    ],
    forms: &EVERYTHING_CLEAR,
};

/// A service of the suite, or one of the company's own: takes facts in, reads and follows everything, and governs nothing.
const SERVICE: SeededRole = SeededRole {
    name: "service",
    methods: &[
        ("quintile.access.v1.PolicyService", &["GetPolicy", "WatchPolicy"]),
        ("quintile.access.v1.TokenService", &["GetJwks"]),
        ("quintile.ingestion.v1.ClockService", &["GetAsOf"]),
        (
            "quintile.ingestion.v1.CustomerService",
            &["CreateCustomer", "GetCustomer", "UpdateCustomer", "ListCustomers", "LookupCustomer"],
        ),
        ("quintile.ingestion.v1.FeatureService", &["GetFeatures", "WatchFeatures"]),
        ("quintile.ingestion.v1.IngestService", &["Ingest", "IngestBatch", "GetIngestStream", "ListRejects"]),
        ("quintile.lifecycle.v1.StageService", &["GetStage", "GetFunnel", "WatchStages"]),
        ("quintile.scoring.v1.ScoreModelService", &["GetScoreModel", "ListScoreModels"]),
        ("quintile.scoring.v1.ScoreService", &["GetScore", "BatchGetScores", "ExplainScore", "WatchScores"]),
        ("quintile.segmentation.v1.LabelService", &["GetLabelSet", "GetLabelDistribution"]),
        ("quintile.segmentation.v1.ProfileService", &["GetProfile"]),
        (
            "quintile.segmentation.v1.SegmentService",
            &[
                "CreateSegment",
                "GetSegment",
                "ListSegments",
                "DeleteSegment",
                "PreviewSegment",
                "ListMembers",
                "CheckMembers",
                "WatchMemberships",
            ],
        ),
    ],
    forms: &EVERYTHING_CLEAR,
};

/// Studies customers without knowing who they are, and makes segments. Looks nobody up: whoever finds a person by phone knows
/// whose data it is. The feeds of the chain are not for people.
const ANALYST: SeededRole = SeededRole {
    name: "analyst",
    methods: &[
        ("quintile.access.v1.TokenService", &["GetJwks"]),
        ("quintile.ingestion.v1.ClockService", &["GetAsOf"]),
        ("quintile.ingestion.v1.CustomerService", &["GetCustomer", "ListCustomers"]),
        ("quintile.ingestion.v1.FeatureService", &["GetFeatures"]),
        ("quintile.lifecycle.v1.StageService", &["GetStage", "GetFunnel"]),
        ("quintile.scoring.v1.ScoreModelService", &["GetScoreModel", "ListScoreModels"]),
        ("quintile.scoring.v1.ScoreService", &["GetScore", "BatchGetScores", "ExplainScore"]),
        ("quintile.segmentation.v1.LabelService", &["GetLabelSet", "GetLabelDistribution"]),
        ("quintile.segmentation.v1.ProfileService", &["GetProfile"]),
        (
            "quintile.segmentation.v1.SegmentService",
            &[
                "CreateSegment",
                "GetSegment",
                "ListSegments",
                "DeleteSegment",
                "PreviewSegment",
                "ListMembers",
                "CheckMembers",
                "WatchMemberships",
            ],
        ),
    ],
    forms: &[(BirthDate, Year), (Financial, Clear), (Location, Clear), (Demographic, Clear)],
};

/// Talks to customers: finds and corrects one at a time, and sees enough of an identity to compare it with what a caller says.
const SUPPORT: SeededRole = SeededRole {
    name: "support",
    methods: &[
        ("quintile.access.v1.TokenService", &["GetJwks"]),
        ("quintile.ingestion.v1.ClockService", &["GetAsOf"]),
        (
            "quintile.ingestion.v1.CustomerService",
            &["GetCustomer", "UpdateCustomer", "ListCustomers", "LookupCustomer"],
        ),
        ("quintile.ingestion.v1.FeatureService", &["GetFeatures"]),
        ("quintile.lifecycle.v1.StageService", &["GetStage", "GetFunnel"]),
        ("quintile.scoring.v1.ScoreModelService", &["GetScoreModel", "ListScoreModels"]),
        ("quintile.scoring.v1.ScoreService", &["GetScore", "BatchGetScores", "ExplainScore"]),
        ("quintile.segmentation.v1.LabelService", &["GetLabelSet", "GetLabelDistribution"]),
        ("quintile.segmentation.v1.ProfileService", &["GetProfile"]),
        ("quintile.segmentation.v1.SegmentService", &["GetSegment", "ListSegments", "ListMembers", "CheckMembers"]),
    ],
    forms: &[
        (Name, Clear),
        (Phone, Partial),
        (Email, Partial),
        (Address, Partial),
        (IdNumber, Partial),
        (BankCard, Partial),
        // A date has no partial form.
        (BirthDate, Year),
        (IpAddress, Partial),
        (LicensePlate, Partial),
        (FreeText, Clear),
        (Financial, Clear),
        (Location, Clear),
        (Demographic, Clear),
        (Pseudonym, Clear),
    ],
};
