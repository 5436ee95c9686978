//! The seeded roles, as data. What is not written here is denied: a method that is not listed, and a class of fields that has no
//! form. There are no patterns on purpose: a new method is nobody's until somebody writes it down.

use super::method_groups::{
    CONSENTS, DELETE_TIERS, ENROL_CUSTOMERS, ERASURES, GRANT_OFFERS, MAKE_OFFERS, MAKE_TIERS, OFFERS, PERSONS_RIGHTS,
    PRINCIPALS, READ_AUDIT, READ_CHECKPOINTS, READ_POLICY, REDEEM_GRANTS, REFRESH_ISSUERS, REPORT_KEYS, SCORE_RECEIPTS,
    SEGMENT_RECEIPTS, SET_TIERS, SIGN_CHECKPOINTS, STAGE_RECEIPTS, TIERS,
};
use quintile_proto::access::MaskForm::{self, Clear, Partial, Year};
use quintile_proto::types::Sensitivity::{
    self, Address, BankCard, BirthDate, Demographic, Email, Financial, FreeText, IdNumber, IpAddress, LicensePlate,
    Location, Name, Phone, Pseudonym,
};

/// Methods that are granted together: a service and the names of its methods.
pub type Methods = (&'static str, &'static [&'static str]);

/// One role.
pub struct SeededRole {
    /// Its name, as tokens state it.
    pub name: &'static str,
    /// The methods that it may call, by service, in groups.
    pub methods: &'static [&'static [Methods]],
    /// The forms in which it sees fields; a class that is not listed is redacted.
    pub forms: &'static [SeededForm],
    /// The customers that it reaches. Empty: all.
    pub row_scope: &'static str,
    /// Exact look-ups of a person that one subject may make in a minute. 0: the default.
    pub lookups_per_minute: i32,
}

/// The form of some classes.
pub struct SeededForm {
    /// The classes.
    pub classes: &'static [Sensitivity],
    /// Their form.
    pub form: MaskForm,
    /// The customers for whom it is that form. Empty: all.
    pub condition: &'static str,
}

/// The roles.
pub const ROLES: [SeededRole; 8] = [ADMIN, SERVICE, SUPPORT, SALES, MARKETER, ANALYST, DATA_ENGINEER, AUDITOR];

/// Who calls is who looks after the customer.
const OWN: &str = "owner == caller.subject";
/// The customer consents to marketing.
const CONSENTING: &str = r#"consent.marketing == "given""#;
/// Nobody.
const NO_CUSTOMER: &str = "false";

/// Numbers and addresses by which a person is found.
const NUMBERS: &[Sensitivity] = &[Address, IdNumber, BankCard, LicensePlate, IpAddress];
/// What tells something about a person and not who it is.
const CIRCUMSTANCES: &[Sensitivity] = &[Financial, Location, Demographic];

const fn shown(classes: &'static [Sensitivity], form: MaskForm) -> SeededForm {
    SeededForm { classes, form, condition: "" }
}

const fn shown_of_own(classes: &'static [Sensitivity], form: MaskForm) -> SeededForm {
    SeededForm { classes, form, condition: OWN }
}

const EVERYTHING_CLEAR: &[SeededForm] = &[
    shown(&[Name, Phone, Email, BirthDate, FreeText, Pseudonym], Clear),
    shown(NUMBERS, Clear),
    shown(CIRCUMSTANCES, Clear),
];

const NOBODY_IDENTIFIED: &[SeededForm] = &[shown(&[BirthDate], Year), shown(CIRCUMSTANCES, Clear)];

const TIME: Methods = ("quintile.ingestion.v1.ClockService", &["GetAsOf"]);
const KEYS: Methods = ("quintile.access.v1.TokenService", &["GetJwks"]);
const READ_CUSTOMERS: Methods = ("quintile.ingestion.v1.CustomerService", &["GetCustomer", "ListCustomers"]);
const UPDATE_CUSTOMERS: Methods = ("quintile.ingestion.v1.CustomerService", &["UpdateCustomer"]);
const LOOK_UP_CUSTOMERS: Methods = ("quintile.ingestion.v1.CustomerService", &["LookupCustomer"]);
const SERVE_CUSTOMERS: Methods = ("quintile.ingestion.v1.CustomerService", &["CreateCustomer", "ListBirthdays"]);
const READ_ATTRIBUTES: Methods = ("quintile.ingestion.v1.AttributeService", &["GetAttribute", "ListAttributes"]);
const DECLARE_ATTRIBUTES: Methods = ("quintile.ingestion.v1.AttributeService", &["CreateAttribute", "DeleteAttribute"]);
const READ_TRAITS: Methods = ("quintile.ingestion.v1.TraitService", &["GetTrait", "ListTraits"]);
const DEFINE_TRAITS: Methods = ("quintile.ingestion.v1.TraitService", &["CreateTrait", "DeleteTrait"]);
const READ_RETENTION: Methods = ("quintile.ingestion.v1.RetentionService", &["GetRetention"]);
const RESPONSES: Methods =
    ("quintile.ingestion.v1.ResponseService", &["GetResponseTargets", "GetResponseTimes", "ListOverdueFeedback"]);
const UPDATE_RETENTION: Methods = ("quintile.ingestion.v1.RetentionService", &["UpdateRetention"]);
const LONG_WORK: Methods = (
    "google.longrunning.Operations",
    &["GetOperation", "ListOperations", "WaitOperation", "CancelOperation", "DeleteOperation"],
);
const FEATURES: Methods = ("quintile.ingestion.v1.FeatureService", &["GetFeatures"]);
const MERGES: Methods = (
    "quintile.ingestion.v1.IdentityService",
    &["MergeCustomers", "UnmergeCustomers", "ListMerges", "ListIdentityConflicts", "ResolveIdentityConflict"],
);
const FACTS: Methods = ("quintile.ingestion.v1.FactService", &["ListCustomerFacts"]);
const WAITING_FACTS: Methods = ("quintile.ingestion.v1.FactService", &["ListWaitingFacts"]);
const COMPANY_FACTS: Methods = ("quintile.ingestion.v1.FactService", &["ListExchangeRates", "ListAcquisitionSpend"]);
const EXPORT: Methods = ("quintile.ingestion.v1.ExportService", &["ExportRows"]);
const INGEST: Methods = ("quintile.ingestion.v1.IngestService", &["Ingest", "IngestBatch", "GetIngestStream"]);
const REJECTS: Methods =
    ("quintile.ingestion.v1.IngestService", &["ListRejects", "GetReject", "ReplayReject", "DeleteReject"]);
const SCORE_MODELS: Methods = (
    "quintile.scoring.v1.ScoreModelService",
    &["GetScoreModel", "ListScoreModels", "GetScoreModelVersion", "ListScoreModelVersions", "ListScoreModelPresets"],
);
const MAKE_SCORE_MODELS: Methods = (
    "quintile.scoring.v1.ScoreModelService",
    &[
        "CreateScoreModelVersion",
        "DeleteScoreModelVersion",
        "RefitScoreModel",
        "PreviewScoreModelVersion",
        "PublishScoreModelVersion",
        "RetireScoreModel",
    ],
);
const VALUE_MODELS: Methods = ("quintile.scoring.v1.ValueModelService", &["GetValueModel", "ListValueModels"]);
const MAKE_VALUE_MODELS: Methods =
    ("quintile.scoring.v1.ValueModelService", &["FitValueModel", "PublishValueModel", "RetireValueModel"]);
const VALUES: Methods = ("quintile.scoring.v1.ValueService", &["GetValue", "BatchGetValues"]);
const RECOMMENDATION_MODELS: Methods =
    ("quintile.scoring.v1.RecommendationModelService", &["GetRecommendationModel", "ListRecommendationModels"]);
const MAKE_RECOMMENDATION_MODELS: Methods =
    ("quintile.scoring.v1.RecommendationModelService", &["FitRecommendationModel", "PublishRecommendationModel"]);
const RECOMMENDATIONS: Methods =
    ("quintile.scoring.v1.RecommendationService", &["GetRecommendations", "GetRelatedProducts"]);
const REFITS: Methods = ("quintile.scoring.v1.RefitService", &["GetRefitSchedule"]);
const SCHEDULE_REFITS: Methods = ("quintile.scoring.v1.RefitService", &["UpdateRefitSchedule"]);
const SCORES: Methods =
    ("quintile.scoring.v1.ScoreService", &["GetScore", "BatchGetScores", "ExplainScore", "ListScoreChanges"]);
const STAGES: Methods = ("quintile.lifecycle.v1.StageService", &["GetStage", "GetFunnel", "ListStageTransitions"]);
const STAGE_POLICIES: Methods = (
    "quintile.lifecycle.v1.StagePolicyService",
    &["GetStagePolicy", "GetStagePolicyVersion", "ListStageFields", "ListStagePolicyVersions"],
);
const MAKE_STAGE_POLICIES: Methods = (
    "quintile.lifecycle.v1.StagePolicyService",
    &["CreateStagePolicyVersion", "DeleteStagePolicyVersion", "PreviewStagePolicyVersion", "PublishStagePolicyVersion"],
);
const WARNINGS: Methods = ("quintile.lifecycle.v1.WarningService", &["ListWarnings", "GetWarning", "GetWarningPolicy"]);
const ANSWER_WARNINGS: Methods = (
    "quintile.lifecycle.v1.WarningService",
    &["AcknowledgeWarning", "AssignWarning", "ResolveWarning", "WatchWarnings"],
);
const PLAYBOOKS: Methods = (
    "quintile.lifecycle.v1.PlaybookService",
    &["GetPlaybook", "ListPlaybooks", "ListPlaybookTemplates", "ListPlaybookRuns", "GetContactPolicy"],
);
const MAKE_PLAYBOOKS: Methods = (
    "quintile.lifecycle.v1.PlaybookService",
    &["CreatePlaybook", "UpdatePlaybook", "StartPlaybook", "StopPlaybook", "DeletePlaybook", "UpdateContactPolicy"],
);
const PLAYBOOK_OUTCOMES: Methods =
    ("quintile.lifecycle.v1.PlaybookService", &["GetPlaybookOutcome", "GetNextBestActions"]);
const TASKS: Methods = ("quintile.lifecycle.v1.TaskService", &["ListTasks", "GetTask"]);
const DO_TASKS: Methods = ("quintile.lifecycle.v1.TaskService", &["ClaimTask", "CompleteTask"]);
const DELIVERIES: Methods = ("quintile.lifecycle.v1.DeliveryService", &["ListDeliveries"]);
const REPLAY_DELIVERIES: Methods = ("quintile.lifecycle.v1.DeliveryService", &["ReplayDelivery"]);
const CHURN_MODELS: Methods =
    ("quintile.lifecycle.v1.ChurnModelService", &["GetChurnModel", "ListChurnModels", "GetChurnTrainingSchedule"]);
const MAKE_CHURN_MODELS: Methods = (
    "quintile.lifecycle.v1.ChurnModelService",
    &["TrainChurnModel", "PublishChurnModel", "RetireChurnModel", "MeasureChurnDrift", "UpdateChurnTrainingSchedule"],
);
const CHURN_RISKS: Methods = ("quintile.lifecycle.v1.ChurnService", &["GetChurnRisk", "ListChurnRisks"]);
const SET_WARNING_POLICY: Methods = ("quintile.lifecycle.v1.WarningService", &["UpdateWarningPolicy"]);
const RETENTION: Methods =
    ("quintile.lifecycle.v1.RetentionService", &["GetCohortRetention", "GetSurvival", "GetStageFlow", "GetStageTimes"]);
const LABELS: Methods = (
    "quintile.segmentation.v1.LabelService",
    &["GetLabelSet", "ListLabelSets", "ListLabelSetVersions", "GetLabelDistribution"],
);
const ANALYSES: Methods = (
    "quintile.segmentation.v1.AnalysisService",
    &["GetOverlapMatrix", "CompareSegments", "RankTargets", "GetMigration"],
);
const CLUSTERS: Methods =
    ("quintile.segmentation.v1.ClusterService", &["FitClusters", "GetClustering", "GetClusterDrift", "FindFactors"]);
const SIZES: Methods = ("quintile.segmentation.v1.AnalysisService", &["ListSegmentSizes"]);
const MAKE_LABELS: Methods = (
    "quintile.segmentation.v1.LabelService",
    &["CreateLabelSet", "UpdateLabelSet", "PreviewLabelSetDraft", "PublishLabelSet", "DeleteLabelSet"],
);
const ECONOMICS: Methods = ("quintile.scoring.v1.EconomicsService", &["GetUnitEconomics"]);
const PREVIEW_IMPACT: Methods = ("quintile.segmentation.v1.LabelService", &["PreviewImpact"]);
const PROFILES: Methods = ("quintile.segmentation.v1.ProfileService", &["GetProfile", "ListMembershipChanges"]);
const EXPRESSIONS: Methods = ("quintile.segmentation.v1.ExpressionService", &["ListFields", "CheckExpression"]);
const USE_SEGMENTS: Methods = (
    "quintile.segmentation.v1.SegmentService",
    &["GetSegment", "ListSegments", "ListSegmentVersions", "ListMembers", "CheckMembers"],
);
const MEMBER_RECORDS: Methods = ("quintile.segmentation.v1.SegmentService", &["ListMemberRecords"]);
const MAKE_SEGMENTS: Methods = (
    "quintile.segmentation.v1.SegmentService",
    &[
        "CreateSegment",
        "UpdateSegment",
        "PreviewSegmentDraft",
        "PublishSegment",
        "DeleteSegment",
        "AddMembers",
        "RemoveMembers",
        "PreviewSegment",
        "WatchMemberships",
    ],
);
const FEATURE_FEED: Methods = ("quintile.ingestion.v1.FeatureService", &["WatchFeatures", "ReadPastFeatures"]);
const SCORE_FEED: Methods = ("quintile.scoring.v1.ScoreService", &["WatchScores"]);
const RECORDS: Methods = ("quintile.lifecycle.v1.StageService", &["ListRecords"]);
const STAGE_FEED: Methods = ("quintile.lifecycle.v1.StageService", &["WatchStages"]);
/// What everybody who works with customers needs.
const READING: &[Methods] = &[
    TIME,
    KEYS,
    READ_CUSTOMERS,
    READ_ATTRIBUTES,
    READ_TRAITS,
    FACTS,
    RESPONSES,
    FEATURES,
    SCORE_MODELS,
    SCORES,
    VALUE_MODELS,
    VALUES,
    RECOMMENDATION_MODELS,
    RECOMMENDATIONS,
    REFITS,
    STAGES,
    STAGE_POLICIES,
    WARNINGS,
    CHURN_MODELS,
    CHURN_RISKS,
    PLAYBOOKS,
    OFFERS,
    TIERS,
    TASKS,
    LABELS,
    PROFILES,
    USE_SEGMENTS,
    EXPRESSIONS,
];
/// The feeds of the chain.
const FEEDS: &[Methods] = &[FEATURE_FEED, SCORE_FEED, STAGE_FEED];
/// What a service does for its users and for the chain.
const SERVING: &[Methods] = &[
    UPDATE_CUSTOMERS,
    LOOK_UP_CUSTOMERS,
    SERVE_CUSTOMERS,
    ("quintile.ingestion.v1.ExportService", &["ExportAudience"]),
    ("quintile.ingestion.v1.AttributeService", &["ReadAttributeValues"]),
    CONSENTS,
    INGEST,
    REJECTS,
    WAITING_FACTS,
    COMPANY_FACTS,
    EXPORT,
    RECORDS,
    MEMBER_RECORDS,
    MERGES,
    DEFINE_TRAITS,
    MAKE_SCORE_MODELS,
    MAKE_STAGE_POLICIES,
    MAKE_VALUE_MODELS,
    MAKE_CHURN_MODELS,
    MAKE_RECOMMENDATION_MODELS,
    SCHEDULE_REFITS,
    PREVIEW_IMPACT,
    ECONOMICS,
    READ_RETENTION,
    LONG_WORK,
    MAKE_SEGMENTS,
    MAKE_LABELS,
    ANALYSES,
    RETENTION,
    ANSWER_WARNINGS,
    SET_WARNING_POLICY,
    MAKE_PLAYBOOKS,
    PLAYBOOK_OUTCOMES,
    ENROL_CUSTOMERS,
    MAKE_OFFERS,
    GRANT_OFFERS,
    REDEEM_GRANTS,
    MAKE_TIERS,
    DELETE_TIERS,
    SET_TIERS,
    DO_TASKS,
    DELIVERIES,
    REPLAY_DELIVERIES,
    SIZES,
    CLUSTERS,
    READ_POLICY,
    REFRESH_ISSUERS,
    SCORE_RECEIPTS,
    STAGE_RECEIPTS,
    SEGMENT_RECEIPTS,
];

/// Runs the installation: may do everything.
const ADMIN: SeededRole = SeededRole {
    name: "admin",
    methods: &[
        READING,
        FEEDS,
        SERVING,
        &[
            ("quintile.ingestion.v1.ClockService", &["SetAsOf"]),
            (
                "quintile.access.v1.PolicyService",
                &["PreviewPolicy", "PublishPolicy", "GetPolicyVersion", "ListPolicyVersions", "ExplainAccess"],
            ),
            ("quintile.access.v1.TenantService", &["CreateTenant", "ListTenants"]),
            DECLARE_ATTRIBUTES,
            UPDATE_RETENTION,
            ("quintile.ingestion.v1.ResponseService", &["UpdateResponseTargets"]),
            PERSONS_RIGHTS,
            ERASURES,
            READ_AUDIT,
            READ_CHECKPOINTS,
            PRINCIPALS,
            ("quintile.access.v1.MasterKeyService", &["RewrapKeys", "ListKeyStates"]),
            (
                "quintile.access.v1.IssuerService",
                &["CreateIssuer", "GetIssuer", "ListIssuers", "UpdateIssuer", "DeleteIssuer"],
            ),
            ("quintile.access.v1.RevocationService", &["CreateRevocation", "ListRevocations"]),
            ("quintile.access.v1.SigningKeyService", &["ListSigningKeys", "RotateSigningKey"]),
            // The edge lets everybody through to this service; whose token is good for another one is the handler's to say.
            ("quintile.access.v1.TokenService", &["IssueToken"]),
        ],
    ],
    forms: EVERYTHING_CLEAR,
    row_scope: "",
    lookups_per_minute: 6_000,
};

/// A service of the suite, or one of the company's own: takes facts in, reads and follows everything, and governs nothing.
const SERVICE: SeededRole = SeededRole {
    name: "service",
    methods: &[READING, FEEDS, SERVING, &[SIGN_CHECKPOINTS, REPORT_KEYS]],
    forms: EVERYTHING_CLEAR,
    row_scope: "",
    lookups_per_minute: 60_000,
};

/// Talks to customers: sees who it is and what there is to know, and of numbers and addresses enough to compare them.
const SUPPORT: SeededRole = SeededRole {
    name: "support",
    methods: &[
        READING,
        &[UPDATE_CUSTOMERS, LOOK_UP_CUSTOMERS, MERGES, CONSENTS, PERSONS_RIGHTS, ANSWER_WARNINGS, DO_TASKS, DELIVERIES],
        &[GRANT_OFFERS, REDEEM_GRANTS, SET_TIERS],
    ],
    forms: &[
        shown(&[Name, FreeText, Pseudonym], Clear),
        shown(&[Phone, Email], Partial),
        shown(NUMBERS, Partial),
        shown(&[BirthDate], Year),
        shown(CIRCUMSTANCES, Clear),
    ],
    row_scope: "",
    lookups_per_minute: 0,
};

/// Looks after customers of its own, and reaches no others.
const SALES: SeededRole = SeededRole {
    name: "sales",
    methods: &[READING, &[UPDATE_CUSTOMERS, ANSWER_WARNINGS, ENROL_CUSTOMERS, DO_TASKS]],
    forms: &[
        shown_of_own(&[Name, Phone, Email, FreeText, Pseudonym], Clear),
        shown(NUMBERS, Partial),
        shown(&[BirthDate], Year),
        shown(CIRCUMSTANCES, Clear),
    ],
    row_scope: OWN,
    lookups_per_minute: 0,
};

/// Addresses those who agreed to be addressed, without knowing who they are.
const MARKETER: SeededRole = SeededRole {
    name: "marketer",
    methods: &[
        READING,
        &[
            COMPANY_FACTS,
            EXPORT,
            RECORDS,
            MEMBER_RECORDS,
            MAKE_SEGMENTS,
            MAKE_LABELS,
            ANALYSES,
            RETENTION,
            ANSWER_WARNINGS,
            SET_WARNING_POLICY,
            MAKE_PLAYBOOKS,
            PLAYBOOK_OUTCOMES,
            DO_TASKS,
            DELIVERIES,
        ],
        &[ENROL_CUSTOMERS, MAKE_OFFERS, GRANT_OFFERS, MAKE_TIERS, SET_TIERS],
    ],
    forms: NOBODY_IDENTIFIED,
    row_scope: CONSENTING,
    lookups_per_minute: 0,
};

/// Studies customers without knowing who they are, and makes segments, traits and score models. Looks nobody up: whoever finds a person by phone knows
/// whose data it is. The feeds of the chain are not for people.
const ANALYST: SeededRole = SeededRole {
    name: "analyst",
    methods: &[
        READING,
        &[
            COMPANY_FACTS,
            EXPORT,
            RECORDS,
            MEMBER_RECORDS,
            MAKE_SEGMENTS,
            MAKE_LABELS,
            ANALYSES,
            RETENTION,
            SIZES,
            CLUSTERS,
            DEFINE_TRAITS,
            MAKE_SCORE_MODELS,
            MAKE_STAGE_POLICIES,
            MAKE_VALUE_MODELS,
            MAKE_CHURN_MODELS,
            MAKE_RECOMMENDATION_MODELS,
            SCHEDULE_REFITS,
            PREVIEW_IMPACT,
            ECONOMICS,
            PLAYBOOK_OUTCOMES,
            READ_RETENTION,
            LONG_WORK,
        ],
    ],
    forms: NOBODY_IDENTIFIED,
    row_scope: "",
    lookups_per_minute: 0,
};

/// Runs the pipelines: takes facts in and follows the feeds, without knowing who customers are.
const DATA_ENGINEER: SeededRole = SeededRole {
    name: "data-engineer",
    methods: &[
        READING,
        FEEDS,
        &[
            INGEST,
            REJECTS,
            WAITING_FACTS,
            COMPANY_FACTS,
            EXPORT,
            RECORDS,
            MEMBER_RECORDS,
            MAKE_SEGMENTS,
            MAKE_LABELS,
            ANALYSES,
            RETENTION,
            SIZES,
            CLUSTERS,
            DECLARE_ATTRIBUTES,
            DEFINE_TRAITS,
            MAKE_SCORE_MODELS,
            MAKE_STAGE_POLICIES,
            MAKE_VALUE_MODELS,
            MAKE_CHURN_MODELS,
            MAKE_RECOMMENDATION_MODELS,
            SCHEDULE_REFITS,
            PREVIEW_IMPACT,
            ECONOMICS,
            PLAYBOOK_OUTCOMES,
            READ_RETENTION,
            UPDATE_RETENTION,
            DELIVERIES,
            REPLAY_DELIVERIES,
            LONG_WORK,
        ],
    ],
    forms: NOBODY_IDENTIFIED,
    row_scope: "",
    lookups_per_minute: 0,
};

/// Reads the audit log, and no customer.
const AUDITOR: SeededRole = SeededRole {
    name: "auditor",
    methods: &[&[TIME, KEYS, READ_AUDIT, READ_CHECKPOINTS]],
    forms: &[],
    row_scope: NO_CUSTOMER,
    lookups_per_minute: 0,
};
