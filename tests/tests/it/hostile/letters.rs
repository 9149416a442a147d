//! What whoever has stolen a hospital operator's certificate, and no key, does to its letters: reads them, spoils how far they
//! have come, and has notices posted elsewhere; writes none.

use suture_core::approval::SignedDocument as _;
use suture_core::digest::Digest;
use suture_core::notice::{Acknowledgement, Letter, Said, Side};
use suture_core::sign::{LocalKey, Signer as _};
use suture_proto::v1;
use suture_proto::v1::operator_service_client::OperatorServiceClient;
use suture_tests::world::{HDO, text};
use tonic::Code;
use tonic::transport::Channel;

use crate::hospital::Hospital;

/// The calls that are tried here.
pub(super) const TRIED: &[&str] = &[
    "SendLetters",
    "ListLetters",
    "MarkLetters",
    "AcknowledgeLetter",
    "AddContact",
    "ListContacts",
    "RemoveContact",
    "ListDeliveries",
];

const NOTICE: &str = r#"
kind = "decommissioning"
product = "pump"
severity = "low"
subject = "how it is taken out of service"
text = "Wipe its keys."
actions = "suture-agent leave"
"#;

/// Tries them with kim's certificate.
pub(super) async fn thief(hospital: &Hospital, calls: &mut OperatorServiceClient<Channel>, key: &LocalKey) {
    let spec = hospital.world.path("notice.toml");
    std::fs::write(&spec, NOTICE).unwrap();
    hospital.ada.run(&["notice", "publish", text(&spec)]).await.unwrap();
    let list = |from: &str, hdo: &str| v1::ListLettersRequest {
        from: from.to_owned(),
        hdo: hdo.to_owned(),
        ..Default::default()
    };
    let found = calls.list_letters(list("manufacturer", "")).await.unwrap().into_inner().letters;
    let sha256 = Digest::of(&found[0].content);
    assert_eq!(calls.list_letters(list("manufacturer", "hilltop")).await.unwrap_err().code(), Code::PermissionDenied);

    // Letters take a key that the hospital's root lists, in the name of its holder, and the manufacturer's are not its own.
    let said = Said::Acknowledgement(Acknowledgement { number: 1, sha256, text: "nothing to it".to_owned() });
    for (from, name) in [(Side::Hospital, "kim"), (Side::Hospital, "ada"), (Side::Manufacturer, "ada")] {
        let letter = Letter {
            kind: Letter::TYPE.to_owned(),
            format: 1,
            from,
            hdo: HDO.parse().unwrap(),
            number: 1,
            previous: None,
            said: said.clone(),
            key: key.public(),
            name: name.parse().unwrap(),
            written_at: "2026-11-24T12:00:00Z".parse().unwrap(),
        };
        let letters = vec![letter.sign(key).unwrap().bytes().to_vec().into()];
        let refused = calls.send_letters(v1::SendLettersRequest { letters }).await.unwrap_err();
        assert!(matches!(refused.code(), Code::InvalidArgument | Code::PermissionDenied), "{refused}");
    }
    // Not on the certificate alone either: kim has a key.
    let request = v1::AcknowledgeLetterRequest {
        number: 1,
        sha256: sha256.as_bytes().to_vec().into(),
        text: "nothing to it".to_owned(),
        ..Default::default()
    };
    let refused = calls.acknowledge_letter(request).await.unwrap_err();
    assert_eq!((refused.code(), refused.message().contains("kim holds the key")), (Code::InvalidArgument, true));

    // That it was read can be claimed, as anybody can who reads over kim's shoulder. It is due all the same.
    let request = v1::MarkLettersRequest { hdo: String::new(), delivered_through: 1, read: 1 };
    calls.mark_letters(request).await.unwrap();
    let letter = calls.list_letters(list("manufacturer", "")).await.unwrap().into_inner().letters.remove(0);
    assert!(letter.read.is_some() && letter.answered.is_none() && letter.answer_by_ms > 0);
    let contact =
        v1::AddContactRequest { name: "x".to_owned(), url: "https://thief.example/".to_owned(), further: false };
    calls.add_contact(contact).await.unwrap();
    assert_eq!(calls.list_contacts(v1::ListContactsRequest {}).await.unwrap().into_inner().contacts.len(), 1);
    let deliveries = calls.list_deliveries(v1::ListDeliveriesRequest { number: 1 }).await.unwrap();
    assert!(deliveries.into_inner().deliveries.is_empty(), "what was published before goes nowhere");
    calls.remove_contact(v1::RemoveContactRequest { name: "x".to_owned() }).await.unwrap();
    // The hospital finds both out.
    let record = hospital.kim.run(&["audit", "list", "--limit", "1000"]).await.unwrap();
    assert!(record.contains("contact.added") && record.contains("notice.read"), "{record}");
}
