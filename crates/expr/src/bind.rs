//! Turns CEL's untyped tree into the typed one.

use crate::constant::{minor_units, timestamp_micros};
use crate::error::{ExprError, Position, shortened};
use crate::node::{Comparison, Node, Operand, Value};
use crate::syntax::Parsed;
use crate::{DECIMALS, Field, MAX_DEPTH, Schema, Type};
use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// A typed tree and what it depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) root: Node,
    pub(crate) fields: Vec<u16>,
    pub(crate) references: Vec<String>,
    pub(crate) depends_on_time: bool,
}

/// Checks names and types.
pub(crate) fn bind(source: &str, parsed: &Parsed, schema: &Schema) -> Result<Bound, ExprError> {
    let mut binder =
        Binder { source, parsed, schema, fields: BTreeSet::new(), references: BTreeSet::new(), depends_on_time: false };
    let root = binder.condition(&parsed.root, 1)?;
    Ok(Bound {
        root,
        fields: binder.fields.into_iter().collect(),
        references: binder.references.into_iter().collect(),
        depends_on_time: binder.depends_on_time,
    })
}

/// Something that can be compared.
enum Side<'a> {
    Field(&'a Field),
    Literal(&'a LiteralValue),
    Timestamp(i64),
    Now,
    DaysSince(u16),
}

impl Side<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Field(field) => field.ty.name(),
            Self::Literal(LiteralValue::Boolean(_)) => "bool",
            Self::Literal(LiteralValue::Int(_)) => "int",
            Self::Literal(LiteralValue::Double(_)) => "a decimal",
            Self::Literal(LiteralValue::String(_)) => "text",
            Self::Literal(_) => "another literal",
            Self::Timestamp(_) | Self::Now => "instant",
            Self::DaysSince(_) => "a number of days",
        }
    }
}

struct Binder<'a> {
    source: &'a str,
    parsed: &'a Parsed,
    schema: &'a Schema,
    fields: BTreeSet<u16>,
    references: BTreeSet<String>,
    depends_on_time: bool,
}

impl<'a> Binder<'a> {
    /// `depth` counts the nodes from the root to this one, itself included.
    fn condition(&mut self, expr: &'a IdedExpr, depth: usize) -> Result<Node, ExprError> {
        if depth > MAX_DEPTH {
            let position = self.position(expr);
            return Err(ExprError::TooDeep { position, limit: MAX_DEPTH });
        }
        let Expr::Call(call) = &expr.expr else {
            return self.bare(expr);
        };
        match (call.func_name.as_str(), call.args.as_slice()) {
            (operators::LOGICAL_AND, _) => Ok(Node::And(self.operands(call, depth)?)),
            (operators::LOGICAL_OR, _) => Ok(Node::Or(self.operands(call, depth)?)),
            (operators::LOGICAL_NOT, [inner]) => Ok(Node::Not(Box::new(self.condition(inner, depth + 1)?))),
            (operators::IN, [field, list]) => self.membership(expr, field, list),
            (name, [left, right]) => match comparison(name) {
                Some(op) => self.comparison(expr, left, op, right),
                None => self.call(expr, call),
            },
            _ => self.call(expr, call),
        }
    }

    /// The operands of a chain of one connective, which CEL nests and the tree keeps flat.
    fn operands(&mut self, connective: &'a CallExpr, depth: usize) -> Result<Vec<Node>, ExprError> {
        let mut nodes = Vec::new();
        let mut pending: Vec<_> = connective.args.iter().rev().collect();
        while let Some(operand) = pending.pop() {
            match &operand.expr {
                Expr::Call(call) if call.func_name == connective.func_name => {
                    pending.extend(call.args.iter().rev());
                }
                _ => nodes.push(self.condition(operand, depth + 1)?),
            }
        }
        Ok(nodes)
    }

    /// A bool field or literal alone.
    fn bare(&mut self, expr: &'a IdedExpr) -> Result<Node, ExprError> {
        match self.side(expr)? {
            Side::Literal(LiteralValue::Boolean(answer)) => Ok(Node::Const(*answer.inner())),
            Side::Field(Field { id, ty: Type::Bool, .. }) => {
                Ok(Node::Compare { field: *id, op: Comparison::Equal, with: Operand::Constant(Value::Bool(true)) })
            }
            other => Err(self.clash(expr, "a condition", other.name())),
        }
    }

    /// A function that is a condition.
    fn call(&mut self, expr: &'a IdedExpr, call: &'a CallExpr) -> Result<Node, ExprError> {
        let target = call.target.as_deref();
        match (call.func_name.as_str(), target, call.args.as_slice()) {
            ("has", None, [field]) => Ok(Node::Has(self.field(field)?.id)),
            ("has", None, _) => Err(self.misused(expr, "has(field)")),
            ("segment", None, [name]) => {
                let name = text(name).ok_or_else(|| self.misused(expr, "segment(\"name\")"))?;
                self.references.insert(name.to_owned());
                Ok(Node::Segment(name.to_owned()))
            }
            ("segment", None, _) => Err(self.misused(expr, "segment(\"name\")")),
            ("startsWith", Some(target), [prefix]) => {
                let usage = "field.startsWith(\"text\")";
                let prefix = text(prefix).ok_or_else(|| self.misused(expr, usage))?.to_owned();
                Ok(Node::StartsWith { field: self.typed(target, Type::Text)?, prefix })
            }
            ("startsWith", ..) => Err(self.misused(expr, "field.startsWith(\"text\")")),
            ("contains", Some(target), [part]) => {
                let usage = "field.contains(\"text\")";
                let part = text(part).ok_or_else(|| self.misused(expr, usage))?.to_owned();
                Ok(Node::Contains { field: self.typed(target, Type::Text)?, part })
            }
            ("contains", ..) => Err(self.misused(expr, "field.contains(\"text\")")),
            ("days_since" | "timestamp", None, _) => self.bare(expr),
            (name, ..) => Err(self.unsupported(expr, format!("the function `{}`", shortened(name)))),
        }
    }

    /// Something that can be compared.
    fn side(&mut self, expr: &'a IdedExpr) -> Result<Side<'a>, ExprError> {
        match &expr.expr {
            Expr::Literal(LiteralValue::Null) => Err(self.unsupported(expr, "null (ask with has(field))")),
            Expr::Literal(literal) => Ok(Side::Literal(literal)),
            Expr::Ident(name) if name == "now" => {
                self.depends_on_time = true;
                Ok(Side::Now)
            }
            Expr::Ident(_) | Expr::Select(_) => self.field(expr).map(Side::Field),
            Expr::List(_) => Err(self.unsupported(expr, "a list outside of `field in [..]`")),
            Expr::Call(call) => match (call.func_name.as_str(), call.args.as_slice()) {
                ("days_since", [field]) if call.target.is_none() => {
                    self.depends_on_time = true;
                    Ok(Side::DaysSince(self.typed(field, Type::Instant)?))
                }
                ("days_since", _) => Err(self.misused(expr, "days_since(field)")),
                ("timestamp", args) => {
                    let usage = "timestamp(\"2024-01-31T00:00:00Z\"), in the years 1970 to 9999";
                    let literal = args.first().filter(|_| args.len() == 1 && call.target.is_none());
                    let micros = literal.and_then(text).and_then(timestamp_micros);
                    micros.map(Side::Timestamp).ok_or_else(|| self.misused(expr, usage))
                }
                _ => Err(self.unsupported(expr, "a condition inside a comparison")),
            },
            _ => Err(self.unsupported(expr, "this expression")),
        }
    }

    fn comparison(
        &mut self,
        expr: &'a IdedExpr,
        left: &'a IdedExpr,
        op: Comparison,
        right: &'a IdedExpr,
    ) -> Result<Node, ExprError> {
        match (self.side(left)?, self.side(right)?) {
            (Side::DaysSince(field), other) => self.days(field, op, &other, right),
            (other, Side::DaysSince(field)) => self.days(field, op.turned(), &other, left),
            (Side::Field(field), other) => self.against(expr, field, op, &other, right),
            (other, Side::Field(field)) => self.against(expr, field, op.turned(), &other, left),
            _ => Err(self.unsupported(expr, "a comparison without a field")),
        }
    }

    fn days(&self, field: u16, op: Comparison, other: &Side<'_>, other_expr: &IdedExpr) -> Result<Node, ExprError> {
        match other {
            Side::Literal(LiteralValue::Int(days)) => Ok(Node::DaysSince { field, op, days: *days.inner() }),
            other => Err(self.clash(other_expr, "a whole number of days", other.name())),
        }
    }

    fn against(
        &self,
        expr: &IdedExpr,
        field: &Field,
        op: Comparison,
        other: &Side<'_>,
        other_expr: &IdedExpr,
    ) -> Result<Node, ExprError> {
        let with = match other {
            Side::Field(other) if other.ty == field.ty => Operand::Field(other.id),
            Side::Now if field.ty == Type::Instant => Operand::Now,
            other => Operand::Constant(self.constant(field.ty, other, other_expr)?),
        };
        if field.ty == Type::Bool && op.is_order() {
            return Err(self.clash(expr, "`==` or `!=` between bools", "an order"));
        }
        Ok(Node::Compare { field: field.id, op, with })
    }

    fn membership(&mut self, expr: &'a IdedExpr, field: &'a IdedExpr, list: &'a IdedExpr) -> Result<Node, ExprError> {
        let Side::Field(field) = self.side(field)? else {
            return Err(self.misused(expr, "field in [constant, ..]"));
        };
        let Expr::List(list) = &list.expr else {
            return Err(self.misused(expr, "field in [constant, ..]"));
        };
        let mut set = BTreeSet::new();
        for element in &list.elements {
            let side = self.side(element)?;
            if !matches!(side, Side::Literal(_) | Side::Timestamp(_)) {
                return Err(self.clash(element, "a constant", "something else"));
            }
            set.insert(self.constant(field.ty, &side, element)?);
        }
        Ok(Node::In { field: field.id, set: set.into_iter().collect() })
    }

    /// A constant of type `ty`.
    fn constant(&self, ty: Type, side: &Side<'_>, expr: &IdedExpr) -> Result<Value, ExprError> {
        match (ty, side) {
            (Type::Int, Side::Literal(LiteralValue::Int(number))) => Ok(Value::Int(*number.inner())),
            (Type::Text, Side::Literal(LiteralValue::String(text))) => Ok(Value::Text(text.inner().to_owned())),
            (Type::Bool, Side::Literal(LiteralValue::Boolean(bool))) => Ok(Value::Bool(*bool.inner())),
            (Type::Instant, Side::Timestamp(micros)) => Ok(Value::Instant(*micros)),
            (Type::Money | Type::Decimal, Side::Literal(LiteralValue::Int(major))) => {
                self.decimal(ty, expr, *major.inner() < 0)
            }
            (Type::Money | Type::Decimal, Side::Literal(LiteralValue::Double(major))) => {
                self.decimal(ty, expr, major.inner().is_sign_negative())
            }
            _ => Err(self.clash(expr, ty.name(), side.name())),
        }
    }

    /// Money or a decimal from the digits as written: CEL's own value of a decimal is a float.
    fn decimal(&self, ty: Type, expr: &IdedExpr, negative: bool) -> Result<Value, ExprError> {
        // The literal's place is that of its digits; its sign stands before.
        let rest = self.source.get(self.parsed.offset(expr)..).unwrap_or_default();
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let digits = if ty == Type::Money { self.schema.minor_digits() } else { DECIMALS };
        let units = minor_units(&rest[..end], negative, digits);
        units.map(Value::Int).ok_or_else(|| {
            let expected = format!("{ty} with at most {digits} decimals, within 64 bits");
            self.clash(expr, expected, "more")
        })
    }

    fn typed(&mut self, expr: &'a IdedExpr, ty: Type) -> Result<u16, ExprError> {
        let field = self.field(expr)?;
        if field.ty == ty {
            Ok(field.id)
        } else {
            Err(self.clash(expr, format!("a field of type {ty}"), field.ty.name()))
        }
    }

    /// Resolves a field and records that the rule reads it.
    fn field(&mut self, expr: &'a IdedExpr) -> Result<&'a Field, ExprError> {
        let Some((root, name)) = path(expr) else {
            return Err(self.clash(expr, "a field", "something else"));
        };
        let Some(field) = self.schema.field(&name) else {
            return Err(ExprError::UnknownField {
                position: self.position(root),
                nearest: self.schema.nearest(&name).map(str::to_owned),
                name: shortened(&name),
            });
        };
        self.fields.insert(field.id);
        Ok(field)
    }

    fn position(&self, expr: &IdedExpr) -> Position {
        // A dot is where CEL places `a.b`; its author looks for the start of the name.
        let start = path(expr).map_or(expr, |(root, _)| root);
        Position::of(self.source, self.parsed.offset(start))
    }

    fn misused(&self, expr: &IdedExpr, usage: &'static str) -> ExprError {
        self.clash(expr, usage, "another form of it")
    }

    fn clash(&self, expr: &IdedExpr, expected: impl Into<Cow<'static, str>>, found: &'static str) -> ExprError {
        ExprError::TypeClash { position: self.position(expr), expected: expected.into(), found }
    }

    fn unsupported(&self, expr: &IdedExpr, what: impl Into<Cow<'static, str>>) -> ExprError {
        ExprError::Unsupported { position: self.position(expr), what: what.into() }
    }
}

fn comparison(operator: &str) -> Option<Comparison> {
    match operator {
        operators::EQUALS => Some(Comparison::Equal),
        operators::NOT_EQUALS => Some(Comparison::NotEqual),
        operators::LESS => Some(Comparison::Less),
        operators::LESS_EQUALS => Some(Comparison::LessOrEqual),
        operators::GREATER => Some(Comparison::Greater),
        operators::GREATER_EQUALS => Some(Comparison::GreaterOrEqual),
        _ => None,
    }
}

/// The root and the dotted name of a plain path.
fn path(expr: &IdedExpr) -> Option<(&IdedExpr, String)> {
    match &expr.expr {
        Expr::Ident(name) => Some((expr, name.clone())),
        Expr::Select(select) if !select.test => {
            let (root, name) = path(&select.operand)?;
            Some((root, format!("{name}.{}", select.field)))
        }
        _ => None,
    }
}

fn text(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Some(text.inner()),
        _ => None,
    }
}
