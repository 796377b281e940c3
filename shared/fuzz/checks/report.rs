//! What holds of reports for any bytes: what is read as one is written and read again as the same.

use nsl_shared::boot::Report;

pub fn check(bytes: &[u8]) {
    let Some(report) = Report::decode(bytes) else { return };
    assert_eq!(bytes.len(), Report::SIZE);
    let again = report.encode();
    assert_eq!(Report::decode(&again), Some(report));
    // The kind is never changed; a field that it does not use is not kept.
    assert_eq!(again[..2], bytes[..2]);
}
