//! Offers and tiers, by what the contract says of them.

use super::codes::{LENGTH, read, spell};
use super::tiers::{Entry, Standing, enter};
use super::*;
use quintile_domain::money::Currency;
use quintile_proto::google_type::Money;
use quintile_proto::lifecycle::{Benefit, FreeShipping, LoyaltyTier, LoyaltyTierText, OfferText, benefit};

fn at(text: &str) -> Instant {
    Instant::parse(text).unwrap()
}

fn text(language: &str, title: &str) -> OfferText {
    OfferText { language: language.to_owned(), title: title.to_owned(), description: String::new() }
}

/// So many texts with a title of one byte and a description of so many bytes each.
fn texts_of(texts: usize, bytes: usize) -> Vec<OfferText> {
    let tag = |place| if place == 0 { String::new() } else { format!("x-{place}") };
    (0..texts).map(|place| OfferText { description: "x".repeat(bytes), ..text(&tag(place), "x") }).collect()
}

fn offer() -> Offer {
    Offer {
        texts: vec![text("", "Ten percent")],
        benefit: Some(Benefit { kind: Some(benefit::Kind::PercentOff(10)) }),
        valid_days: 30,
        state: OfferState::Active.into(),
        ..Offer::default()
    }
}

fn tier(rank: i32, valid_days: i32) -> LoyaltyTier {
    let text = LoyaltyTierText { title: "Gold".to_owned(), ..LoyaltyTierText::default() };
    LoyaltyTier { rank, texts: vec![text], valid_days, ..LoyaltyTier::default() }
}

#[test]
fn a_grant_holds_the_rest_of_its_day_and_so_many_days_of_its_zone() {
    let (vienna, utc) = (TimeZone::from_name("Europe/Vienna").unwrap(), TimeZone::UTC);
    for (zone, granted, days, end, last) in [
        (&utc, "2026-01-01T00:00:00Z", 1, "2026-01-03T00:00:00Z", "2026-01-02"),
        (&utc, "2026-01-01T23:59:59Z", 1, "2026-01-03T00:00:00Z", "2026-01-02"),
        (&utc, "2026-12-01T12:00:00Z", 30, "2027-01-01T00:00:00Z", "2026-12-31"),
        // Clocks are put forward on March 29: from +1 to +2.
        (&vienna, "2026-03-27T22:59:59Z", 2, "2026-03-29T22:00:00Z", "2026-03-29"),
        (&vienna, "2026-03-27T23:00:00Z", 2, "2026-03-30T22:00:00Z", "2026-03-30"),
    ] {
        let validity = Validity::of(at(granted), days, zone);
        assert_eq!((validity.end, validity.last_date()), (at(end), last.to_owned()), "{granted} {days}");
        assert_eq!(Validity::ending(validity.end, zone), validity);
    }
}

#[test]
fn an_offer_is_granted_while_it_is_active_and_there_is_some_left_for_all_and_for_each() {
    use StepSkipReason::{OfferExhausted, OfferHeld, OfferNotActive};
    let in_state = |state: OfferState| Offer { state: state.into(), ..offer() };
    let of = |max_grants, max_per_customer| Offer { max_grants, max_per_customer, ..offer() };
    for (offer, granted, open, refused) in [
        (of(0, 0), i64::MAX, 0, None),
        (of(0, 0), 0, 1, Some(OfferHeld)),
        (of(0, 3), 0, 2, None),
        (of(0, 3), 0, 3, Some(OfferHeld)),
        (of(5, 0), 4, 0, None),
        (of(5, 0), 5, 0, Some(OfferExhausted)),
        (of(5, 0), 5, 1, Some(OfferExhausted)),
        (in_state(OfferState::Paused), 0, 0, Some(OfferNotActive)),
        (in_state(OfferState::Retired), 0, 0, Some(OfferNotActive)),
    ] {
        assert_eq!(may_grant(&offer, granted, open), refused, "{offer:?} {granted} {open}");
    }
}

#[test]
fn a_grant_expires_by_time_alone_and_only_while_it_is_open() {
    let end = at("2026-02-01T00:00:00Z");
    let before = end.plus_micros(-1);
    assert_eq!(state_at(GrantState::Open, end, before), GrantState::Open);
    assert_eq!(state_at(GrantState::Open, end, end), GrantState::Expired);
    for ended in [GrantState::Redeemed, GrantState::Revoked] {
        assert_eq!(state_at(ended, end, end), ended);
    }
}

#[test]
fn a_code_spells_the_first_eighty_bits_of_a_hash() {
    let mut hash = [0; 32];
    assert_eq!(spell(&hash), "2222222222222222");
    hash[10..].fill(0xff);
    assert_eq!(spell(&hash), "2222222222222222", "what lies behind says nothing");
    hash[..10].fill(0xff);
    assert_eq!(spell(&hash), "ZZZZZZZZZZZZZZZZ");
    // 00000 00001 00010 00011 00100 00101 00110 00111 and 01000 to 01111.
    let counting = [0x00, 0x44, 0x32, 0x14, 0xc7, 0x42, 0x54, 0xb6, 0x35, 0xcf];
    hash[..10].copy_from_slice(&counting);
    assert_eq!(spell(&hash), "23456789ABCDEFGH");
    assert_eq!(spell(&hash).len(), LENGTH);
}

#[test]
fn a_code_is_read_as_people_write_it() {
    let spelt = Some("23456789ABCDEFGH".to_owned());
    for written in ["23456789ABCDEFGH", "23456789abcdefgh", "2345-6789-abcd-efgh", " 2345 6789 ABCD EFGH "] {
        assert_eq!(read(written), spelt, "{written}");
    }
    for none in
        ["", "23456789ABCDEFG", "23456789ABCDEFGHJ", "O3456789ABCDEFGH", "1345-6789-ABCD-EFGH", "２3456789ABCDEFGH"]
    {
        assert_eq!(read(none), None, "{none}");
    }
}

#[test]
fn a_customer_rises_stays_for_longer_and_falls_only_where_that_is_said() {
    let (utc, day) = (TimeZone::UTC, 86_400_000_000);
    let now = at("2026-06-15T12:00:00Z");
    let since = now.plus_micros(-day);
    let stands = |tier, rank, until| Some(Standing { tier, rank, since, until });
    let end = at("2026-06-18T00:00:00Z");
    let new = |until| Ok(Entry { since: now, until, is_new: true });
    for (before, may_lower, into, entry) in [
        (None, false, tier(1, 0), new(None)),
        (None, false, tier(1, 2), new(Some(end))),
        (stands(7, 1, None), false, tier(2, 2), new(Some(end))),
        // Another of the same rank, as it may have been before one was changed.
        (stands(7, 2, None), false, tier(2, 0), new(None)),
        (stands(7, 3, None), false, tier(2, 0), Err(StepSkipReason::HigherTier)),
        (stands(7, 3, None), true, tier(2, 0), new(None)),
        // It has lapsed.
        (stands(7, 3, Some(now)), false, tier(2, 0), new(None)),
        (stands(7, 3, Some(now.plus_micros(1))), false, tier(2, 0), Err(StepSkipReason::HigherTier)),
        // The same again.
        (stands(9, 2, Some(end)), false, tier(2, 2), Ok(Entry { since, until: Some(end), is_new: false })),
        (stands(9, 2, Some(now)), false, tier(2, 2), new(Some(end))),
        // The same, whose rank was lowered since.
        (stands(9, 5, None), false, tier(2, 0), Ok(Entry { since, until: None, is_new: false })),
    ] {
        assert_eq!(enter((9, &into), before, may_lower, now, &utc), entry, "{before:?} {may_lower} {into:?}");
    }
}

#[test]
fn an_offer_that_makes_no_sense_is_refused_by_its_field() {
    let dollar = Currency::from_code("USD").unwrap();
    let benefit = |kind| Offer { benefit: Some(Benefit { kind: Some(kind) }), ..offer() };
    let amount = |code: &str, units, nanos| {
        benefit(benefit::Kind::AmountOff(Money { currency_code: code.to_owned(), units, nanos }))
    };
    let texts = |texts: &[OfferText]| Offer { texts: texts.to_vec(), ..offer() };
    for sense in [
        offer(),
        benefit(benefit::Kind::PercentOff(1)),
        benefit(benefit::Kind::PercentOff(100)),
        benefit(benefit::Kind::FreeShipping(FreeShipping {})),
        benefit(benefit::Kind::Gift("a teapot".to_owned())),
        amount("USD", 0, 10_000_000),
        texts(&[text("zh-Hant", "九折"), text("", "x")]),
        texts(&texts_of(9, 1_819)),
    ] {
        assert_eq!(check(&sense, dollar), Ok(()), "{sense:?}");
    }
    for (wrong, field) in [
        (texts(&[]), "texts"),
        (texts(&[text("de", "x")]), "texts"),
        (texts(&[text("", "x"), text("", "y")]), "texts[1].language"),
        (texts(&[text("de_AT", "x"), text("", "y")]), "texts[0].language"),
        (texts(&[text("", " ")]), "texts[0].title"),
        (texts(&[text("", "{{name}}")]), "texts[0].title"),
        (texts(&texts_of(9, 1_820)), "texts"),
        (Offer { benefit: None, ..offer() }, "benefit"),
        (Offer { benefit: Some(Benefit { kind: None }), ..offer() }, "benefit"),
        (benefit(benefit::Kind::PercentOff(0)), "benefit.percent_off"),
        (benefit(benefit::Kind::PercentOff(101)), "benefit.percent_off"),
        (benefit(benefit::Kind::Gift(String::new())), "benefit.gift"),
        (amount("EUR", 5, 0), "benefit.amount_off"),
        (amount("", 5, 0), "benefit.amount_off"),
        (amount("USD", 0, 0), "benefit.amount_off"),
        (amount("USD", -5, 0), "benefit.amount_off"),
        (amount("USD", 5, 1), "benefit.amount_off"),
        (Offer { valid_days: 0, ..offer() }, "valid_days"),
        (Offer { valid_days: 3_651, ..offer() }, "valid_days"),
        (Offer { max_grants: -1, ..offer() }, "max_grants"),
        (Offer { max_per_customer: 101, ..offer() }, "max_per_customer"),
    ] {
        assert_eq!(check(&wrong, dollar).unwrap_err().field, field, "{wrong:?}");
    }
    let problem = check(&amount("EUR", 5, 0), dollar).unwrap_err().problem;
    assert_eq!(problem, "must be in the tenant's base currency, USD");
}

#[test]
fn a_tier_that_makes_no_sense_is_refused_by_its_field() {
    let offers =
        |offers: &[&str]| LoyaltyTier { offers: offers.iter().map(|&name| name.to_owned()).collect(), ..tier(1, 0) };
    assert_eq!(tiers::check(&tier(1, 0)), Ok(()));
    let braces = LoyaltyTierText { title: "{{gold}}".to_owned(), ..LoyaltyTierText::default() };
    assert_eq!(tiers::check(&LoyaltyTier { texts: vec![braces], ..tier(1, 0) }), Ok(()), "no e-mail has it");
    assert_eq!(tiers::check(&offers(&["offers/a", "offers/b"])), Ok(()));
    for (wrong, field) in [
        (tier(0, 0), "rank"),
        (tier(1_001, 0), "rank"),
        (LoyaltyTier { texts: Vec::new(), ..tier(1, 0) }, "texts"),
        (tier(1, -1), "valid_days"),
        (tier(1, 3_651), "valid_days"),
        (offers(&["offers/"]), "offers[0]"),
        (offers(&["offers/a", "offers/a"]), "offers[1]"),
        (offers(&["offers/a", "offers/b", "offers/c", "offers/d", "offers/e", "offers/f"]), "offers"),
    ] {
        assert_eq!(tiers::check(&wrong).unwrap_err().field, field, "{wrong:?}");
    }
}
