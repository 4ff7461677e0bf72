//! What a token says: when it holds, and all that must be there.

use super::*;

#[test]
fn time_is_honoured_with_the_stated_leeway() {
    for (claim, ends) in
        [("exp", [NOW - LEEWAY + 1, NOW + LONGEST_LIFE]), ("nbf", [0, NOW + LEEWAY]), ("iat", [0, NOW + LEEWAY])]
    {
        for end in ends {
            assert!(with(claim, end.into()).is_some(), "{claim} {end}");
        }
    }
    // RFC 7519 lets a date have a fraction.
    let half = |second: i64| json!(second as f64 + 0.5);
    for (claim, date) in [
        ("exp", json!((NOW + 600) as f64)),
        ("exp", half(NOW - LEEWAY + 1)),
        ("exp", half(NOW + LONGEST_LIFE)),
        ("iat", json!(0.5)),
        ("iat", half(NOW + LEEWAY - 1)),
    ] {
        assert!(with(claim, date.clone()).is_some(), "{claim} {date}");
    }
    for (claim, value) in [
        ("exp", half(NOW - LEEWAY)),
        ("exp", half(NOW + LONGEST_LIFE + 1)),
        ("exp", json!(1e300)),
        ("nbf", half(NOW + LEEWAY)),
        ("iat", half(NOW + LEEWAY)),
        ("exp", json!(NOW - LEEWAY)),
        ("exp", json!(NOW + LONGEST_LIFE + 1)),
        ("exp", json!(i64::MAX)),
        ("exp", json!(-1)),
        ("exp", json!((NOW + 600).to_string())),
        ("exp", Value::Null),
        ("exp", json!([NOW + 600])),
        ("nbf", json!(NOW + LEEWAY + 1)),
        ("nbf", json!(i64::MAX)),
        ("nbf", json!("0")),
        ("nbf", Value::Null),
        ("iat", json!(NOW + LEEWAY + 1)),
    ] {
        assert_eq!(with(claim, value.clone()), None, "{claim} {value}");
    }
    assert_eq!(login_with(&token(&claims()), &Trust { not_after: Some(NOW), ..trust(ED) }, None), None);
    assert!(login_with(&token(&claims()), &Trust { not_after: Some(NOW + 1), ..trust(ED) }, None).is_some());
}

#[test]
fn every_claim_that_is_needed_is_there_and_right() {
    assert!(with("aud", json!(["other", "storm"])).is_some());
    assert_eq!(with("role", json!("viewer")).unwrap().limit, Some(Role::Viewer));
    for (claim, value) in [
        ("aud", json!("Storm")),
        ("aud", json!(["other"])),
        ("aud", json!([])),
        ("aud", json!({"storm": 1})),
        ("iss", Value::Null),
        ("iss", json!(["issuer"])),
        ("role", json!("owner")),
        ("role", json!(["viewer"])),
        ("role", Value::Null),
        ("tenant_id", json!([TENANT])),
        ("tenant_id", json!({"id": TENANT})),
        ("tenant_id", json!(1)),
        ("tenant_id", json!(TENANT.to_uppercase())),
        ("tenant_id", json!(format!("{{{TENANT}}}"))),
        ("tenant_id", json!(format!("urn:uuid:{TENANT}"))),
        ("tenant_id", json!(format!("{TENANT}\u{0}"))),
        ("tenant_id", json!(format!(" {TENANT}"))),
        ("tenant_id", json!(TENANT.replace('-', ""))),
        ("sub", json!("alice@example.com")),
        ("sub", json!("")),
    ] {
        assert_eq!(with(claim, value.clone()), None, "{claim} {value}");
    }
    for claim in ["iss", "aud", "exp", "sub", "tenant_id"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert_eq!(login(&token(&claims)), None, "{claim}");
    }
    let twice = claims().to_string().replacen('{', &format!("{{\"tenant_id\":\"{USER}\","), 1);
    assert_eq!(login(&token_of("EdDSA", r#"{"alg":"EdDSA","kid":"ed"}"#, &twice)), None);
}
