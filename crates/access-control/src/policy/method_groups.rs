//! Groups of methods of the seeded roles: of those who run an installation, of persons' rights, and of what is done for
//! customers and granted to them.

use super::seed::Methods;

pub const PRINCIPALS: Methods = (
    "quintile.access.v1.PrincipalService",
    &[
        "CreatePrincipal",
        "GetPrincipal",
        "ListPrincipals",
        "UpdatePrincipal",
        "DeletePrincipal",
        "CreateSecret",
        "DeleteSecret",
    ],
);
pub const REPORT_KEYS: Methods = ("quintile.access.v1.MasterKeyService", &["ReportKeyState"]);
pub const REFRESH_ISSUERS: Methods = ("quintile.access.v1.IssuerService", &["RefreshIssuer"]);
pub const READ_AUDIT: Methods = (
    "quintile.audit.v1.AuditService",
    &["ListAuditEvents", "ListAuditEntries", "GetAuditHead", "ListAuditCheckpoints"],
);
pub const READ_CHECKPOINTS: Methods = ("quintile.access.v1.CheckpointService", &["ListCheckpoints"]);
pub const SIGN_CHECKPOINTS: Methods = ("quintile.access.v1.CheckpointService", &["SignCheckpoint"]);
pub const CONSENTS: Methods = ("quintile.ingestion.v1.PrivacyService", &["SetConsent", "GetConsents"]);
pub const PERSONS_RIGHTS: Methods =
    ("quintile.ingestion.v1.PrivacyService", &["RestrictProcessing", "LiftRestriction", "ExportPersonalData"]);
pub const ERASURES: Methods =
    ("quintile.ingestion.v1.PrivacyService", &["EraseCustomer", "GetErasure", "ListErasures"]);
pub const SCORE_RECEIPTS: Methods = ("quintile.scoring.v1.ErasureService", &["GetErasureReceipt"]);
pub const STAGE_RECEIPTS: Methods = ("quintile.lifecycle.v1.ErasureService", &["GetErasureReceipt"]);
pub const SEGMENT_RECEIPTS: Methods = ("quintile.segmentation.v1.ErasureService", &["GetErasureReceipt"]);
pub const READ_POLICY: Methods = ("quintile.access.v1.PolicyService", &["GetPolicy", "WatchPolicy"]);
/// Of customers whom the caller reaches, into playbooks that somebody else may have started.
pub const ENROL_CUSTOMERS: Methods = ("quintile.lifecycle.v1.PlaybookService", &["EnrolCustomer"]);
pub const OFFERS: Methods =
    ("quintile.lifecycle.v1.OfferService", &["GetOffer", "ListOffers", "GetOfferUse", "GetGrant", "ListGrants"]);
pub const MAKE_OFFERS: Methods = ("quintile.lifecycle.v1.OfferService", &["CreateOffer", "UpdateOffer", "RetireOffer"]);
pub const GRANT_OFFERS: Methods = ("quintile.lifecycle.v1.OfferService", &["GrantOffer", "RevokeGrant"]);
pub const REDEEM_GRANTS: Methods = ("quintile.lifecycle.v1.OfferService", &["RedeemGrant"]);
pub const TIERS: Methods = (
    "quintile.lifecycle.v1.LoyaltyService",
    &["GetLoyaltyTier", "ListLoyaltyTiers", "GetCustomerTier", "ListTierChanges"],
);
pub const MAKE_TIERS: Methods = ("quintile.lifecycle.v1.LoyaltyService", &["CreateLoyaltyTier", "UpdateLoyaltyTier"]);
/// Whoever is in it, be it a customer of others, is in none.
pub const DELETE_TIERS: Methods = ("quintile.lifecycle.v1.LoyaltyService", &["DeleteLoyaltyTier"]);
pub const SET_TIERS: Methods = ("quintile.lifecycle.v1.LoyaltyService", &["SetCustomerTier", "ClearCustomerTier"]);
