//! What programs in the field hold this one to.
//!
//! A device goes on speaking what it learnt, for years; a hospital's `suturectl` and the manufacturer's server are replaced on
//! different days. So what the wire is has one line each in `proto/suture/v1/wire.txt`, and this test compares: a line may be
//! added, and none may be changed or go. What is of no use any more is taken out by reserving both its number and its name,
//! so that nobody gives them another meaning. A call stays for good: an old program makes it.
//!
//! `SUTURE_WIRE=write cargo nextest run -p suture-proto --lib wire` writes the lines that were added, and refuses to write
//! over one that is broken. Nothing has been released yet: until 0.1.0 is, a line may be struck by hand, in the commit that
//! says why.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};

const PACKAGE: &str = ".suture.v1.";
const RESERVED: &str = "reserved";

/// A place of the wire and what is there: `CheckInRequest 1` and `string product`. By file, as declared.
type Lines = Vec<(String, String)>;

fn present() -> FileDescriptorSet {
    FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap()
}

fn lines(set: &FileDescriptorSet) -> Lines {
    set.file.iter().flat_map(lines_of_file).collect()
}

fn lines_of_file(file: &FileDescriptorProto) -> Lines {
    assert_eq!(file.package(), "suture.v1", "{}: one package, one version", file.name());
    assert_eq!(file.syntax(), "proto3", "{}", file.name());
    let mut lines = Lines::new();
    for service in &file.service {
        for call in &service.method {
            let stream = |is| if is { "stream " } else { "" };
            let asks = format!("{}{}", stream(call.client_streaming()), short(call.input_type()));
            let answers = format!("{}{}", stream(call.server_streaming()), short(call.output_type()));
            lines.push((format!("{}/{}", service.name(), call.name()), format!("{asks} -> {answers}")));
        }
    }
    file.message_type.iter().for_each(|message| message_lines("", message, &mut lines));
    file.enum_type.iter().for_each(|choice| enum_lines("", choice, &mut lines));
    lines
}

fn message_lines(outer: &str, message: &DescriptorProto, lines: &mut Lines) {
    let name = format!("{outer}{}", message.name());
    // A message without a field is there all the same.
    lines.push((name.clone(), "message".to_owned()));
    for field in &message.field {
        lines.push((format!("{name} {}", field.number()), field_line(message, field)));
    }
    // The end of a message's range is the first number behind it.
    let ranges = message.reserved_range.iter().map(|range| range.start()..range.end());
    reserved_lines(&name, ranges.flatten(), &message.reserved_name, lines);
    message.nested_type.iter().for_each(|inner| message_lines(&format!("{name}."), inner, lines));
    message.enum_type.iter().for_each(|inner| enum_lines(&format!("{name}."), inner, lines));
}

fn field_line(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let kind = match field.r#type() {
        Type::Message | Type::Enum => short(field.type_name()).to_owned(),
        kind => kind.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
    };
    let one_of = field.oneof_index.and_then(|i| message.oneof_decl.get(usize::try_from(i).unwrap()));
    match (field.label(), one_of) {
        (Label::Repeated, _) => format!("repeated {kind} {}", field.name()),
        (_, Some(_)) if field.proto3_optional() => format!("optional {kind} {}", field.name()),
        (_, Some(one_of)) => format!("{kind} {}, one of {}", field.name(), one_of.name()),
        (_, None) => format!("{kind} {}", field.name()),
    }
}

fn enum_lines(outer: &str, choice: &EnumDescriptorProto, lines: &mut Lines) {
    let name = format!("{outer}{}", choice.name());
    for value in &choice.value {
        lines.push((format!("{name} {}", value.number()), value.name().to_owned()));
    }
    // The end of an enum's range is in it.
    let ranges = choice.reserved_range.iter().map(|range| range.start()..=range.end());
    reserved_lines(&name, ranges.flatten(), &choice.reserved_name, lines);
}

fn reserved_lines(owner: &str, numbers: impl Iterator<Item = i32>, names: &[String], lines: &mut Lines) {
    let numbers: Vec<_> = numbers.take(1_001).collect();
    assert!(numbers.len() <= 1_000, "{owner}: reserve what was there, number by number");
    lines.extend(numbers.iter().map(|number| (format!("{owner} {number}"), RESERVED.to_owned())));
    lines.extend(names.iter().map(|name| (format!("{owner} {name}"), RESERVED.to_owned())));
}

fn short(name: &str) -> &str {
    name.strip_prefix(PACKAGE).expect("what is spoken of is our own")
}

/// What a program that speaks `then` would miss or misread of one that speaks `now`.
fn broken(then: &Lines, now: &Lines) -> Vec<String> {
    let now: BTreeMap<_, _> = now.iter().map(|(place, what)| (place.as_str(), what.as_str())).collect();
    let is_reserved = |place: &str| now.get(place) == Some(&RESERVED);
    // The name is the last word, or the last before `, one of`.
    let name =
        |what: &str| what.split(',').next().and_then(|what| what.split(' ').next_back()).unwrap_or("").to_owned();
    let mut broken = Vec::new();
    for (place, what) in then {
        let (owner, number) = place.split_once(' ').unwrap_or((place, ""));
        let may_retire = number.parse::<i32>().is_ok();
        let retired = may_retire && is_reserved(place) && is_reserved(&format!("{owner} {}", name(what)));
        // No field and no call is of a message that is gone, or its own line says so.
        let unused = what == "message";
        match now.get(place.as_str()) {
            Some(is) if is == what => {}
            _ if retired => {}
            None if unused => {}
            None if may_retire => broken.push(format!("{place}: {what} is gone; reserve its number and its name")),
            None => broken.push(format!("{place}: {what} is gone; programs in the field still use it")),
            Some(is) => broken.push(format!("{place}: {what} has become {is}; give what is new a number of its own")),
        }
    }
    broken
}

fn read(text: &str) -> Lines {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(": ").map(|(place, what)| (place.to_owned(), what.to_owned())).unwrap()).collect()
}

fn write(set: &FileDescriptorSet) -> String {
    let mut text = "# What programs in the field speak: see proto/src/wire.rs. Lines are added by SUTURE_WIRE=write, and none goes.\n"
        .to_owned();
    for file in &set.file {
        writeln!(text, "\n# {}\n", file.name()).unwrap();
        for (place, what) in lines_of_file(file) {
            writeln!(text, "{place}: {what}").unwrap();
        }
    }
    text
}

#[test]
fn programs_in_the_field_are_understood() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("suture/v1/wire.txt");
    let stored = fs::read_to_string(&path).unwrap_or_default();
    let now = present();
    let broken = broken(&read(&stored), &lines(&now));
    assert!(broken.is_empty(), "old programs would be misread:\n{}", broken.join("\n"));
    let written = write(&now);
    assert_eq!(read(&written), lines(&now), "what is written is what is read");
    if std::env::var("SUTURE_WIRE").is_ok_and(|v| v == "write") {
        fs::write(&path, written).unwrap();
    } else {
        assert!(
            written == stored,
            "the wire has grown: run SUTURE_WIRE=write cargo nextest run -p suture-proto --lib wire"
        );
    }
}

fn message<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut DescriptorProto {
    set.file.iter_mut().flat_map(|file| &mut file.message_type).find(|message| message.name() == name).unwrap()
}

fn choice<'a>(set: &'a mut FileDescriptorSet, name: &str) -> &'a mut EnumDescriptorProto {
    set.file.iter_mut().flat_map(|file| &mut file.enum_type).find(|choice| choice.name() == name).unwrap()
}

fn field<'a>(set: &'a mut FileDescriptorSet, owner: &str, name: &str) -> &'a mut FieldDescriptorProto {
    message(set, owner).field.iter_mut().find(|field| field.name() == name).unwrap()
}

fn drop_field(set: &mut FileDescriptorSet, owner: &str, name: &str) {
    message(set, owner).field.retain(|field| field.name() != name);
}

fn reserve(message: &mut DescriptorProto, number: i32, name: Option<&str>) {
    let range = prost_types::descriptor_proto::ReservedRange { start: Some(number), end: Some(number + 1) };
    message.reserved_range.push(range);
    message.reserved_name.extend(name.map(str::to_owned));
}

/// A change to the messages.
type Bend = fn(&mut FileDescriptorSet);

#[test]
fn what_old_programs_would_misread_is_refused() {
    let bends: [(&str, Bend); 14] = [
        ("CheckInRequest 1: string product is gone", |set| drop_field(set, "CheckInRequest", "product")),
        ("CheckInRequest 1: string product has become reserved", |set| {
            drop_field(set, "CheckInRequest", "product");
            reserve(message(set, "CheckInRequest"), 1, None);
        }),
        ("CheckInRequest 1: string product is gone", |set| {
            field(set, "CheckInRequest", "product").number = Some(99);
        }),
        ("CheckInRequest 1: string product has become bytes product", |set| {
            field(set, "CheckInRequest", "product").set_type(Type::Bytes);
        }),
        ("CheckInRequest 1: string product has become repeated string product", |set| {
            field(set, "CheckInRequest", "product").set_label(Label::Repeated);
        }),
        ("CheckInRequest 1: string product has become string model", |set| {
            field(set, "CheckInRequest", "product").name = Some("model".to_owned());
        }),
        ("CheckInRequest 8: Phase phase has become LeaseStage phase", |set| {
            field(set, "CheckInRequest", "phase").type_name = Some(".suture.v1.LeaseStage".to_owned());
        }),
        ("Repository 1: bool catalog, one of which has become bool catalog", |set| {
            field(set, "Repository", "catalog").oneof_index = None;
        }),
        ("Phase 8: PHASE_CONFIRMED is gone", |set| {
            choice(set, "Phase").value.retain(|value| value.name() != "PHASE_CONFIRMED");
        }),
        ("Phase 8: PHASE_CONFIRMED has become PHASE_OTHER", |set| {
            let value = choice(set, "Phase").value.iter_mut().find(|value| value.number() == 8).unwrap();
            value.name = Some("PHASE_OTHER".to_owned());
        }),
        ("DeviceService/CheckIn: CheckInRequest -> CheckInResponse is gone", |set| {
            let services = set.file.iter_mut().flat_map(|file| &mut file.service);
            services.for_each(|service| service.method.retain(|call| call.name() != "CheckIn"));
        }),
        ("DeviceService/CheckIn: CheckInRequest -> CheckInResponse has become CheckInRequest -> stream", |set| {
            let calls = set.file.iter_mut().flat_map(|file| &mut file.service).flat_map(|service| &mut service.method);
            calls.filter(|call| call.name() == "CheckIn").for_each(|call| call.server_streaming = Some(true));
        }),
        // Gone with all that it had.
        ("MetadataSeen 1: uint64 root_version is gone", |set| {
            set.file.iter_mut().for_each(|file| file.message_type.retain(|message| message.name() != "MetadataSeen"));
        }),
        ("Gone 7: reserved has become string again", |set| {
            let mut gone =
                FieldDescriptorProto { name: Some("again".to_owned()), number: Some(7), ..Default::default() };
            gone.set_type(Type::String);
            let gone = DescriptorProto { name: Some("Gone".to_owned()), field: vec![gone], ..Default::default() };
            set.file.first_mut().unwrap().message_type.push(gone);
        }),
    ];
    let mut then = lines(&present());
    then.push(("Gone 7".to_owned(), RESERVED.to_owned()));
    for (says, bend) in bends {
        let mut set = present();
        bend(&mut set);
        let broken = broken(&then, &lines(&set));
        assert!(broken.iter().any(|fault| fault.starts_with(says)), "{says}, and not {broken:?}");
    }
}

#[test]
fn what_old_programs_never_miss_is_allowed() {
    let bends: [Bend; 4] = [
        |set| {
            let mut new =
                FieldDescriptorProto { name: Some("new".to_owned()), number: Some(900), ..Default::default() };
            new.set_type(Type::String);
            message(set, "CheckInRequest").field.push(new);
        },
        |set| {
            drop_field(set, "CheckInRequest", "product");
            reserve(message(set, "CheckInRequest"), 1, Some("product"));
        },
        |set| {
            let choice = choice(set, "Phase");
            choice.value.retain(|value| value.number() != 8);
            choice.reserved_name.push("PHASE_CONFIRMED".to_owned());
            let range = prost_types::enum_descriptor_proto::EnumReservedRange { start: Some(8), end: Some(8) };
            choice.reserved_range.push(range);
        },
        |set| {
            let file = set.file.first_mut().unwrap();
            file.message_type.push(DescriptorProto { name: Some("New".to_owned()), ..Default::default() });
        },
    ];
    let then = lines(&present());
    for bend in bends {
        let mut set = present();
        bend(&mut set);
        let now = lines(&set);
        assert_ne!(now, then);
        assert_eq!(broken(&then, &now), Vec::<String>::new());
    }
}
