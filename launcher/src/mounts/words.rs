//! The words of one -v, --tmpfs or --mount: docker's, as far as they mean something here. What is not known is refused.

use super::{Kind, Mount, Tmpfs, layer, source, target};
use crate::error::{Error, Result};
use crate::units;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

const KEYS: &str = "type, source or src, target, dst or destination, readonly or ro, bind-propagation, tmpfs-size, \
    tmpfs-mode";
const TYPES: &str = "bind, tmpfs or overlay";

/// `SRC:DST[:ro]`
pub fn volume(text: &OsStr) -> Result<Mount> {
    let step = || format!("use the volume {}", text.display());
    let parts: Vec<_> = text.as_bytes().split(|byte| *byte == b':').collect();
    let (from, to, read_only) = match parts[..] {
        [from, to] | [from, to, b"rw"] => (from, to, false),
        [from, to, b"ro"] => (from, to, true),
        [_, _, _] => return Err(Error::new(step(), "behind the second colon only ro or rw can stand")),
        _ => {
            let error = Error::new(step(), "it is not SRC:DST or SRC:DST:ro");
            return Err(error.hint(match parts.len() {
                1 => "such as -v /srv/data:/data",
                _ => "a name with a colon needs --mount type=bind,src=SRC,dst=DST",
            }));
        }
    };
    Ok(Mount { target: target(to, step)?, kind: Kind::Bind(source(from, step)?), read_only })
}

/// `DST[:OPTION,…]`
pub fn tmpfs(text: &OsStr) -> Result<Mount> {
    let step = || format!("use --tmpfs {}", text.display());
    let mut parts = text.as_bytes().splitn(2, |byte| *byte == b':');
    let to = parts.next().unwrap_or_default();
    let mut tmpfs = Tmpfs::DEFAULT;
    let mut read_only = false;
    for word in parts.flat_map(|options| options.split(|byte| *byte == b',')) {
        let word = String::from_utf8_lossy(word);
        let (key, value) = word.split_once('=').map_or((&*word, None), |(key, value)| (key, Some(value)));
        match (key, value) {
            ("ro", None) => read_only = true,
            ("rw", None) => read_only = false,
            ("exec", None) => tmpfs.exec = true,
            ("noexec", None) => tmpfs.exec = false,
            // It always is so.
            ("nosuid" | "nodev", None) => {}
            ("size", Some(value)) => tmpfs.size = Some(size(value, "--tmpfs")?),
            ("mode", Some(value)) => tmpfs.mode = mode(value, step)?,
            ("uid", Some(value)) => tmpfs.uid = Some(id(value, step)?),
            ("gid", Some(value)) => tmpfs.gid = Some(id(value, step)?),
            _ => {
                return Err(Error::new(step(), format!("there is no option '{word}'"))
                    .hint("size=, mode=, uid=, gid=, ro, rw, exec, noexec, nosuid and nodev are known"));
            }
        }
    }
    Ok(Mount { target: target(to, step)?, kind: Kind::Tmpfs(tmpfs), read_only })
}

/// What a --mount says, each key at most once.
#[derive(Default)]
struct Fields {
    kind: Option<Vec<u8>>,
    source: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    read_only: Option<Vec<u8>>,
    propagation: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    mode: Option<Vec<u8>>,
}

/// `type=…,src=…,dst=…`: comma-separated values as RFC 4180 has them.
pub fn mount(text: &OsStr) -> Result<Mount> {
    let step = || format!("use --mount {}", text.display());
    let fields = fields(text.as_bytes(), step)?;
    let refuse = |key: &str, kind: &str| Err(Error::new(step(), format!("{key} means nothing with type={kind}")));
    let Some(kind) = fields.kind else {
        return Err(Error::new(step(), "it has no type").hint(format!("type is {TYPES}")));
    };
    let kind = String::from_utf8_lossy(&kind).into_owned();
    let Some(to) = &fields.target else {
        return Err(Error::new(step(), "it has no target").hint("target=PATH, a path inside"));
    };
    if fields.propagation.is_some_and(|value| !matches!(&*value, b"private" | b"rprivate")) {
        return Err(Error::new(step(), "a mount inside is never seen outside, nor the other way round")
            .hint("bind-propagation can be private only"));
    }
    let from = match (&*kind, &fields.source) {
        ("tmpfs", Some(_)) => return refuse("source", &kind),
        ("bind" | "overlay", None) => {
            return Err(Error::new(step(), "it has no source").hint("source=PATH, a path of the host"));
        }
        (_, from) => from.as_deref().unwrap_or_default(),
    };
    if kind != "tmpfs" && fields.size.is_some() {
        return refuse("tmpfs-size", &kind);
    }
    if kind != "tmpfs" && fields.mode.is_some() {
        return refuse("tmpfs-mode", &kind);
    }
    let text_of = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let read_only = fields.read_only.map(|value| boolean(&text_of(&value), step)).transpose()?;
    let kind = match &*kind {
        "bind" => Kind::Bind(source(from, step)?),
        "overlay" => Kind::Overlay(layer(from, step)?),
        "tmpfs" => Kind::Tmpfs(Tmpfs {
            size: fields.size.map(|value| size(&text_of(&value), "--mount")).transpose()?,
            mode: fields.mode.map_or(Ok(Tmpfs::DEFAULT.mode), |value| mode(&text_of(&value), step))?,
            ..Tmpfs::DEFAULT
        }),
        _ => return Err(Error::new(step(), format!("there is no type '{kind}'")).hint(format!("type is {TYPES}"))),
    };
    Ok(Mount { target: target(to, step)?, kind, read_only: read_only.unwrap_or(false) })
}

fn fields(text: &[u8], step: impl Fn() -> String) -> Result<Fields> {
    let mut fields = Fields::default();
    for word in split(text).ok_or_else(|| Error::new(step(), "a quote in it has no end"))? {
        let end = word.iter().position(|byte| *byte == b'=');
        let (key, value) = end.map_or((&*word, None), |end| (&word[..end], Some(&word[end + 1..])));
        let shown = String::from_utf8_lossy(key);
        let field = match key {
            b"type" => &mut fields.kind,
            b"source" | b"src" => &mut fields.source,
            b"target" | b"dst" | b"destination" => &mut fields.target,
            b"readonly" | b"ro" => &mut fields.read_only,
            b"bind-propagation" => &mut fields.propagation,
            b"tmpfs-size" => &mut fields.size,
            b"tmpfs-mode" => &mut fields.mode,
            _ => {
                let hint = format!("it can have {KEYS}; a value with a comma is quoted: '\"src=/a,b\"'");
                return Err(Error::new(step(), format!("there is no key '{shown}'")).hint(hint));
            }
        };
        let value = match (key, value) {
            (b"readonly" | b"ro", None) => b"true",
            (_, Some(value)) if !value.is_empty() => value,
            _ => return Err(Error::new(step(), format!("{shown} has no value"))),
        };
        if field.replace(value.to_vec()).is_some() {
            return Err(Error::new(step(), format!("{shown} is given twice, under one name or another")));
        }
    }
    Ok(fields)
}

/// A --mount with other values for some of its keys; none if it cannot be read.
pub fn rewritten(text: &[u8], mut value: impl FnMut(&[u8], &[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let words = split(text)?.into_iter().map(|word| {
        let end = word.iter().position(|byte| *byte == b'=');
        let new = end.and_then(|end| Some([&word[..=end], &value(&word[..end], &word[end + 1..])?].concat()));
        quoted(new.unwrap_or(word))
    });
    Some(words.collect::<Vec<_>>().join(&b','))
}

fn quoted(word: Vec<u8>) -> Vec<u8> {
    if !word.iter().any(|byte| matches!(byte, b',' | b'"')) {
        return word;
    }
    let doubled = word.into_iter().flat_map(|byte| if byte == b'"' { vec![byte, byte] } else { vec![byte] });
    [b'"'].into_iter().chain(doubled).chain([b'"']).collect()
}

/// Comma-separated values; one that begins with a quote ends with one, and holds two for each of its own.
fn split(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut bytes = text.iter().copied().peekable();
    let mut quoted = bytes.next_if_eq(&b'"').is_some();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' if quoted && bytes.next_if_eq(&b'"').is_none() => quoted = false,
            b',' if !quoted => {
                words.push(std::mem::take(&mut word));
                quoted = bytes.next_if_eq(&b'"').is_some();
            }
            byte => word.push(byte),
        }
    }
    words.push(word);
    if quoted { None } else { Some(words) }
}

/// A size in bytes or, in percent of the memory, as it is.
fn size(text: &str, option: &str) -> Result<String> {
    match text.strip_suffix('%').map(str::parse::<u8>) {
        Some(Ok(1..=100)) => Ok(text.to_owned()),
        _ => units::bytes(option, text).map(|bytes| bytes.to_string()),
    }
}

fn mode(text: &str, step: impl Fn() -> String) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777 && !text.starts_with('+'));
    mode.ok_or_else(|| Error::new(step(), format!("'{text}' is no mode")).hint("octal digits, such as 1777"))
}

fn id(text: &str, step: impl Fn() -> String) -> Result<u32> {
    let id = text.parse().ok().filter(|id| *id != u32::MAX);
    id.ok_or_else(|| Error::new(step(), format!("'{text}' is no user or group")).hint("numbers only"))
}

fn boolean(text: &str, step: impl Fn() -> String) -> Result<bool> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(Error::new(step(), format!("'{text}' is neither true nor false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn refusal(result: Result<Mount>) -> String {
        result.err().map(|error| error.to_string()).unwrap_or_default()
    }

    fn bind(from: &str, to: &str, read_only: bool) -> Mount {
        Mount { target: to.into(), kind: Kind::Bind(from.into()), read_only }
    }

    #[test]
    fn volumes_have_two_or_three_parts_and_an_absolute_target() {
        assert_eq!(volume("/usr:/x:ro".as_ref()).unwrap(), bind("/usr", "/x", true));
        assert_eq!(volume("/usr:/x//y/.".as_ref()).unwrap(), bind("/usr", "/x/y", false));
        for bad in [
            "/usr",
            "/usr:",
            "/usr:x",
            "/usr:/",
            "/usr:/.",
            "/usr:/a/../b",
            "/usr:/x:rx",
            "/usr:/x:ro:y",
            "/nowhere:/x",
            "/usr:/dev",
            "/usr:/proc",
            "/usr:/proc/sys/x",
            "/usr:/sys/",
            "/usr:/x\0y",
            ":/x",
        ] {
            assert!(!refusal(volume(bad.as_ref())).is_empty(), "{bad}");
        }
        assert!(refusal(volume("/a:b:/x:/y".as_ref())).contains("--mount"));
        assert!(volume("/dev/null:/dev/nothing".as_ref()).is_ok() && volume("/usr:/procs".as_ref()).is_ok());
    }

    #[test]
    fn a_tmpfs_has_dockers_options() {
        let tmpfs = |text: &str| super::tmpfs(text.as_ref());
        let Kind::Tmpfs(plain) = tmpfs("/x").unwrap().kind else { panic!("no tmpfs") };
        assert_eq!(plain, Tmpfs::DEFAULT);
        let all = tmpfs("/x:size=64m,mode=0750,uid=5,gid=6,ro,exec,nosuid,nodev").unwrap();
        let Kind::Tmpfs(options) = all.kind else { panic!("no tmpfs") };
        assert!(all.read_only && options.exec);
        let expected = [("size", "67108864"), ("mode", "750"), ("uid", "5"), ("gid", "6")];
        assert_eq!(options.options(), expected.map(|(key, value)| (key, value.to_owned())));
        for bad in
            ["/x:", "/x:suid", "/x:dev", "/x:size", "/x:size=", "/x:mode=9", "/x:mode=17777", "/x:uid=root", "x:ro"]
        {
            assert!(!refusal(tmpfs(bad)).is_empty(), "{bad}");
        }
        assert!(refusal(tmpfs("/x:huge=never")).contains("size=, mode="));
    }

    #[test]
    fn a_size_can_be_a_part_of_the_memory() {
        assert_eq!(size("50%", "").unwrap(), "50%");
        for bad in ["0%", "101%", "%", "5%b", "m", "-1"] {
            assert!(size(bad, "--tmpfs").is_err(), "{bad}");
        }
    }

    #[test]
    fn mounts_are_dockers() {
        let mount = |text: &str| super::mount(text.as_ref());
        assert_eq!(mount("type=bind,src=/usr,dst=/x").unwrap(), bind("/usr", "/x", false));
        assert_eq!(mount("target=/x,source=/usr,readonly,type=bind").unwrap(), bind("/usr", "/x", true));
        assert!(!mount("type=bind,src=/usr,destination=/x,ro=false,bind-propagation=rprivate").unwrap().read_only);
        assert_eq!(mount("type=overlay,src=/usr,dst=/x").unwrap().kind, Kind::Overlay("/usr".into()));
        let Kind::Tmpfs(tmpfs) = mount("type=tmpfs,dst=/x,tmpfs-size=1m,tmpfs-mode=700").unwrap().kind else {
            panic!("no tmpfs")
        };
        assert_eq!((tmpfs.size.as_deref(), tmpfs.mode), (Some("1048576"), 0o700));
        for (bad, words) in [
            ("src=/usr,dst=/x", "it has no type"),
            ("type=volume,src=/usr,dst=/x", "there is no type 'volume' (hint: type is bind, tmpfs or overlay)"),
            ("type=bind,src=/usr", "no target"),
            ("type=bind,dst=/x", "no source"),
            ("type=bind,src=/usr,source=/usr,dst=/x", "given twice"),
            ("type=bind,src=/usr,dst=/x,consistency=cached", "'consistency' (hint: it can have type, source"),
            ("type=bind,src=/usr,dst=/x,bind-propagation=shared", "private only"),
            ("type=bind,src=/usr,dst=/x,tmpfs-size=1m", "means nothing with type=bind"),
            ("type=tmpfs,src=/usr,dst=/x", "means nothing with type=tmpfs"),
            ("type=overlay,src=/etc/passwd,dst=/x", "Not a directory"),
            ("type=bind,src=/usr,dst=/x,ro=maybe", "'maybe'"),
            ("type=bind,src=/usr,dst=/x,", "there is no key ''"),
            ("type=bind,\"src=/usr,dst=/x", "no end"),
            ("type,src=/usr,dst=/x", "type has no value"),
        ] {
            assert!(refusal(mount(bad)).contains(words), "{bad}: {}", refusal(mount(bad)));
        }
    }

    #[test]
    fn a_quoted_value_can_hold_commas_and_quotes() {
        let words =
            |text: &str| split(text.as_bytes()).map(|words| words.into_iter().map(|w| String::from_utf8(w).unwrap()));
        let words = |text: &str| words(text).map(Iterator::collect::<Vec<_>>);
        assert_eq!(words("a,\"b,c\",d").unwrap(), ["a", "b,c", "d"]);
        assert_eq!(words("\"a\"\"b\",c\"d").unwrap(), ["a\"b", "c\"d"]);
        assert_eq!(words("\"a,b"), None);
        let target = mount("\"dst=/a,b\",type=bind,src=/usr".as_ref()).unwrap().target;
        assert_eq!(target, PathBuf::from("/a,b"));
    }
}
