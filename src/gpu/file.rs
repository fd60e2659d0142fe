//! Safetensors files, read with memory in proportion to their size.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use half::{bf16, f16};
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, Metadata, TensorInfo, TensorView};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::Result;

/// The types that [`floats`] takes.
pub(crate) const FLOATS: &[Dtype] = &[Dtype::F32, Dtype::F64, Dtype::F16, Dtype::BF16];

/// The missing tensors that are named, if the file does not have more of its own.
const NAMED: usize = 16;

/// A safetensors file. No name is given twice, and what is allocated is in proportion to the length of the file: the parser of the
/// `safetensors` crate takes the last of two tensors of one name, and 32 bytes for each value of JSON.
pub(crate) struct File<'data> {
    /// What the file says of itself; empty if nothing.
    pub metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorView<'data>>,
}

impl<'data> File<'data> {
    /// # Errors
    /// [`Error::SafeTensors`](crate::Error::SafeTensors).
    pub fn read(bytes: &'data [u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk().ok_or(SafeTensorError::HeaderTooSmall)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| SafeTensorError::HeaderTooLarge)?;
        let (header, data) = rest.split_at_checked(length).ok_or(SafeTensorError::InvalidHeaderLength)?;
        let text = std::str::from_utf8(header).map_err(SafeTensorError::InvalidHeader)?;
        let header: Header = serde_json::from_str(text).map_err(SafeTensorError::InvalidHeaderDeserialization)?;
        let mut tensors: Vec<(String, TensorInfo)> = header.tensors.into_iter().collect();
        tensors.sort_by_key(|(_, info)| info.data_offsets);
        // one after another, each as long as its shape says
        let valid = Metadata::new(None, tensors)?;
        if valid.data_len() != data.len() {
            return Err(SafeTensorError::MetadataIncompleteBuffer.into());
        }
        let view = |(name, info): (String, &TensorInfo)| {
            let (start, end) = info.data_offsets;
            Ok((name, TensorView::new(info.dtype, info.shape.clone(), &data[start..end])?))
        };
        Ok(Self { metadata: header.metadata, tensors: valid.tensors().into_iter().map(view).collect::<Result<_>>()? })
    }

    pub fn tensor(&self, name: &str) -> Option<&TensorView<'data>> {
        self.tensors.get(name)
    }

    /// How the tensors differ from `expected`, names with types of which one is expected and shapes: a sentence for each that is
    /// missing, has another type, another shape, or is not expected. Of those that are missing, 16 are named, or as many as the file
    /// has tensors if that is more; then it is said how many more there are.
    pub fn differences<N: AsRef<str>, S: AsRef<[usize]>>(
        &self,
        expected: impl IntoIterator<Item = (N, &'static [Dtype], S)>,
    ) -> Vec<String> {
        let mut differences = Vec::new();
        let (mut missing, named) = (0, self.tensors.len().max(NAMED));
        let mut unexpected = self.tensors.clone();
        for (name, dtypes, shape) in expected {
            let (name, shape) = (name.as_ref(), shape.as_ref());
            let Some(view) = unexpected.remove(name) else {
                missing += 1;
                if missing <= named {
                    differences.push(format!("`{name}` is missing"));
                }
                continue;
            };
            if !dtypes.contains(&view.dtype()) {
                let names: Vec<String> = dtypes.iter().map(|dtype| format!("{dtype:?}")).collect();
                let expected = match names.split_last() {
                    Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
                    _ => names.concat(),
                };
                differences.push(format!("`{name}` is {:?}, expected {expected}", view.dtype()));
            }
            if view.shape() != shape {
                differences.push(format!("`{name}` has shape {:?}, expected {shape:?}", view.shape()));
            }
        }
        if missing > named {
            differences.push(format!("{} more are missing", missing - named));
        }
        differences.extend(unexpected.into_keys().map(|name| format!("`{name}` is not expected")));
        differences
    }
}

/// The values of a tensor of [`FLOATS`], rounded to f32; `None` for another type.
pub(crate) fn floats<'data>(view: &TensorView<'data>) -> Option<Box<dyn Iterator<Item = f32> + 'data>> {
    let data: &'data [u8] = view.data();
    Some(match view.dtype() {
        Dtype::F32 => Box::new(data.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes))),
        Dtype::F64 => Box::new(data.as_chunks().0.iter().map(|&bytes| f64::from_le_bytes(bytes) as f32)),
        Dtype::F16 => Box::new(data.as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32())),
        Dtype::BF16 => Box::new(data.as_chunks().0.iter().map(|&bytes| bf16::from_le_bytes(bytes).to_f32())),
        _ => return None,
    })
}

/// The beginning of a file.
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let (mut metadata, mut tensors) = (None, BTreeMap::new());
        while let Some(name) = map.next_key::<String>()? {
            let is_metadata = name == "__metadata__";
            if tensors.contains_key(&name) || (is_metadata && metadata.is_some()) {
                return Err(A::Error::custom(format_args!("`{name}` is given twice")));
            }
            if is_metadata {
                metadata = Some(map.next_value::<Option<Object<String>>>()?);
            } else {
                tensors.insert(name, map.next_value()?);
            }
        }
        Ok(Header { metadata: metadata.flatten().map(|object| object.0).unwrap_or_default(), tensors })
    }
}

/// An object of JSON in which no key is given twice.
pub(crate) struct Object<T>(pub BTreeMap<String, T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = BTreeMap<String, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            if entries.contains_key(&key) {
                return Err(A::Error::custom(format_args!("`{key}` is given twice")));
            }
            entries.insert(key, map.next_value()?);
        }
        Ok(entries)
    }
}
