use super::template::{Operand, Template};
pub(crate) struct Rows {
    pub rows: u32,
    pub width: u32,
    pub count: u32,
}
pub(crate) fn gather(_: bool, _: &Rows, _: &Operand, _: &Operand) -> Template {
    todo!()
}
pub(crate) fn scatter_add(_: bool, _: &Rows, _: &Operand, _: &Operand) -> Template {
    todo!()
}
