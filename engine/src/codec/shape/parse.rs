//! A shape from its text, which may come from a damaged or hostile file.

use std::str::FromStr;

use super::text::is_name_char;
use super::{FieldShape, Scalar, TypeShape, VariantContent, VariantShape};
use crate::codec::DEPTH_MAX;

/// A text that is no shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid type shape at offset {offset}: expected {expected}, found `{found}`")]
pub struct ParseShapeError {
    /// Where, in bytes from the beginning of the text.
    pub offset: usize,
    /// What should be there.
    pub expected: &'static str,
    /// The beginning of what is there.
    pub found: String,
}

impl FromStr for TypeShape {
    type Err = ParseShapeError;

    fn from_str(text: &str) -> Result<Self, ParseShapeError> {
        let mut parser = Parser {
            rest: text,
            len: text.len(),
            depth: 0,
        };
        let shape = parser.shape()?;
        if parser.rest.is_empty() {
            Ok(shape)
        } else {
            Err(parser.expected("the end"))
        }
    }
}

type Parsed<T> = Result<T, ParseShapeError>;

struct Parser<'a> {
    rest: &'a str,
    len: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn expected(&self, expected: &'static str) -> ParseShapeError {
        ParseShapeError {
            offset: self.len - self.rest.len(),
            expected,
            found: self.rest.chars().take(24).collect(),
        }
    }

    fn eat(&mut self, token: char) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn require(&mut self, token: char, expected: &'static str) -> Parsed<()> {
        if self.eat(token) {
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    fn word(&mut self) -> &'a str {
        let end = self.rest.find(|c| !is_name_char(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Parsed<usize> {
        let before = self.rest;
        self.word().parse().map_err(|_| {
            self.rest = before;
            self.expected("a number")
        })
    }

    fn name(&mut self) -> Parsed<String> {
        if !self.eat('"') {
            let word = self.word();
            return if word.is_empty() {
                Err(self.expected("a name"))
            } else {
                Ok(word.to_owned())
            };
        }
        let mut name = String::new();
        let mut chars = self.rest.chars();
        loop {
            match chars.next() {
                Some('"') => break,
                Some('\\') => name.extend(chars.next()),
                Some(c) => name.push(c),
                None => return Err(self.expected("a closing quote")),
            }
        }
        self.rest = chars.as_str();
        Ok(name)
    }

    /// Items separated by commas up to `close`, after the opening character.
    fn list<T>(
        &mut self,
        close: char,
        expected: &'static str,
        item: impl Fn(&mut Self) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        if self.eat(close) {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.eat(close) {
                return Ok(items);
            }
            self.require(',', expected)?;
        }
    }

    fn shapes(&mut self) -> Parsed<Vec<TypeShape>> {
        self.list(')', "`,` or `)`", Self::shape)
    }

    fn fields(&mut self) -> Parsed<Vec<FieldShape>> {
        self.list('}', "`,` or `}`", |parser| {
            let name = parser.name()?;
            parser.require(':', "`:`")?;
            let shape = parser.shape()?;
            Ok(FieldShape { name, shape })
        })
    }

    fn variant(&mut self) -> Parsed<VariantShape> {
        let name = self.name()?;
        let content = if self.eat('(') {
            VariantContent::Tuple(self.shapes()?)
        } else if self.eat('{') {
            VariantContent::Struct(self.fields()?)
        } else {
            VariantContent::Unit
        };
        Ok(VariantShape { name, content })
    }

    fn inner(&mut self, close: char, expected: &'static str) -> Parsed<Box<TypeShape>> {
        let shape = self.shape()?;
        self.require(close, expected)?;
        Ok(Box::new(shape))
    }

    fn shape(&mut self) -> Parsed<TypeShape> {
        if self.depth == DEPTH_MAX {
            return Err(self.expected("no deeper nesting"));
        }
        self.depth += 1;
        let shape = self.shape_inside();
        self.depth -= 1;
        shape
    }

    fn shape_inside(&mut self) -> Parsed<TypeShape> {
        if self.eat('(') {
            return self.shapes().map(TypeShape::Tuple);
        }
        if self.eat('[') {
            let element = self.inner(';', "`;`")?;
            let count = self.number()?;
            self.require(']', "`]`")?;
            return Ok(TypeShape::Array(element, count));
        }
        if self.eat('^') {
            return self.number().map(TypeShape::Outer);
        }
        let before = self.rest;
        let word = self.word();
        if let Some(scalar) = Scalar::ALL.iter().find(|scalar| scalar.name() == word) {
            return Ok(TypeShape::Scalar(*scalar));
        }
        match word {
            "string" => Ok(TypeShape::String),
            "bytes" => Ok(TypeShape::Bytes),
            "opaque" => Ok(TypeShape::Opaque),
            "option" => {
                self.require('<', "`<`")?;
                self.inner('>', "`>`").map(TypeShape::Option)
            }
            "seq" => {
                self.require('<', "`<`")?;
                self.inner('>', "`>`").map(TypeShape::Seq)
            }
            "map" => {
                self.require('<', "`<`")?;
                let key = self.inner(',', "`,`")?;
                Ok(TypeShape::Map(key, self.inner('>', "`>`")?))
            }
            "struct" => {
                self.require(' ', "a space")?;
                let name = self.name()?;
                self.require('{', "`{`")?;
                let fields = self.fields()?;
                Ok(TypeShape::Struct { name, fields })
            }
            "enum" => {
                self.require(' ', "a space")?;
                let name = self.name()?;
                self.require('{', "`{`")?;
                let variants = self.list('}', "`,` or `}`", Self::variant)?;
                Ok(TypeShape::Enum { name, variants })
            }
            _ => {
                self.rest = before;
                Err(self.expected("a type"))
            }
        }
    }
}
