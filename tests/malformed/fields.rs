//! Where the fields of a GGUF file's header lie: a second reading of the format, apart from the loader's.

use std::ops::Range;

/// A field of the header.
#[derive(Debug, Clone)]
pub struct Field {
    /// What it is: `general.name value`, `blk.0.attn_q.weight offset`.
    pub name: String,
    /// Its bytes in the file.
    pub range: Range<usize>,
    /// Whether it is text; otherwise it is a number, little-endian.
    pub is_text: bool,
}

/// The header of a sound GGUF v3 file.
pub struct Header {
    /// All fields in order, without gaps.
    pub fields: Vec<Field>,
    /// Tensors with the bytes of each.
    pub tensors: Vec<(String, Range<usize>)>,
}

struct Reader<'a> {
    file: &'a [u8],
    at: usize,
    fields: Vec<Field>,
}

impl Reader<'_> {
    fn field(&mut self, name: String, length: usize, is_text: bool) -> Range<usize> {
        let range = self.at..self.at + length;
        self.at = range.end;
        self.fields.push(Field { name, range: range.clone(), is_text });
        range
    }

    fn number(&mut self, name: String, length: usize) -> usize {
        let range = self.field(name, length, false);
        let mut wide = [0; 8];
        wide[..length].copy_from_slice(&self.file[range]);
        u64::from_le_bytes(wide) as usize
    }

    fn text(&mut self, name: &str) -> String {
        let length = self.number(format!("{name} length"), 8);
        let range = self.field(name.to_owned(), length, true);
        String::from_utf8(self.file[range].to_vec()).expect("text")
    }

    fn value(&mut self, name: &str, kind: usize) {
        match kind {
            0 | 1 | 7 => drop(self.number(name.to_owned(), 1)),
            2 | 3 => drop(self.number(name.to_owned(), 2)),
            4..=6 => drop(self.number(name.to_owned(), 4)),
            10..=12 => drop(self.number(name.to_owned(), 8)),
            8 => drop(self.text(name)),
            9 => {
                let element = self.number(format!("{name} element type"), 4);
                let count = self.number(format!("{name} count"), 8);
                (0..count).for_each(|index| self.value(&format!("{name}[{index}]"), element));
            }
            other => panic!("{name} has the value type {other}"),
        }
    }
}

impl Header {
    /// Reads the header of a sound file.
    pub fn read(file: &[u8]) -> Self {
        let mut reader = Reader { file, at: 0, fields: Vec::new() };
        reader.field("magic".into(), 4, true);
        reader.number("version".into(), 4);
        let tensors = reader.number("tensor count".into(), 8);
        let entries = reader.number("metadata count".into(), 8);
        for _ in 0..entries {
            let at = reader.fields.len();
            let key = reader.text("key");
            reader.fields[at].name = format!("{key} key length");
            reader.fields[at + 1].name = format!("{key} key");
            let kind = reader.number(format!("{key} type"), 4);
            reader.value(&format!("{key} value"), kind);
        }
        let mut places = Vec::new();
        for _ in 0..tensors {
            let at = reader.fields.len();
            let name = reader.text("name");
            reader.fields[at].name = format!("{name} name length");
            reader.fields[at + 1].name = format!("{name} name");
            let dims = reader.number(format!("{name} dimension count"), 4);
            let elements: usize =
                (0..dims).map(|dim| reader.number(format!("{name} dimension {dim}"), 8)).product();
            let bytes = match reader.number(format!("{name} type"), 4) {
                0 => 4 * elements,
                1 | 30 => 2 * elements,
                2 => elements / 32 * 18,
                8 => elements / 32 * 34,
                14 => elements / 256 * 210,
                36 => elements / 4 + 32,
                other => panic!("{name} has the type {other}"),
            };
            let offset = reader.number(format!("{name} offset"), 8);
            places.push((name, offset..offset + bytes));
        }
        let start = reader.at.next_multiple_of(32);
        let moved = |range: Range<usize>| start + range.start..start + range.end;
        let tensors = places.into_iter().map(|(name, range)| (name, moved(range))).collect();
        Header { fields: reader.fields, tensors }
    }

    /// The bytes of the field of this name.
    pub fn field(&self, name: &str) -> Range<usize> {
        let found = self.fields.iter().find(|field| field.name == name);
        found.unwrap_or_else(|| panic!("no field {name}")).range.clone()
    }

    /// The bytes of the tensor of this name.
    pub fn tensor(&self, name: &str) -> Range<usize> {
        let found = self.tensors.iter().find(|(tensor, _)| tensor == name);
        found.unwrap_or_else(|| panic!("no tensor {name}")).1.clone()
    }

    /// Where the header ends and padding begins.
    pub fn end(&self) -> usize {
        self.fields.last().map_or(0, |field| field.range.end)
    }
}

#[test]
fn fields_and_tensors_cover_the_file() {
    let file = crate::sample::Checkpoint::new().gguf();
    let header = Header::read(&file);
    let mut at = 0;
    for field in &header.fields {
        assert_eq!(field.range.start, at, "{}", field.name);
        at = field.range.end;
    }
    assert_eq!(at, header.end());
    for (name, range) in &header.tensors {
        assert_eq!(range.start, at.next_multiple_of(32), "{name}");
        at = range.end;
    }
    assert_eq!(at.next_multiple_of(32), file.len());
    // 11 tensors a layer, the embedding and the last norm; all of the metadata that the loader knows.
    assert_eq!(header.tensors.len(), 2 * 11 + 2);
    assert_eq!(&file[header.field("general.architecture value")], b"bitnet-b1.58");
}
