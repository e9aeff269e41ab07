//! The text index of a logs part: which blocks of rows may hold a word. Tantivy, one document per block, document numbers
//! only, all its files in one (see `FORMAT.md` in the folder above).

mod directory;
mod reader;
mod writer;

pub(crate) use reader::TextIndex;
pub(crate) use writer::TextIndexWriter;

use tantivy::schema::{Field, IndexRecordOption, Schema, SchemaBuilder, TextFieldIndexing, TextOptions};

/// Tantivy's tokenizer that cuts nothing: words come cut already.
const TOKENIZER: &str = "raw";

/// The only field.
fn schema() -> (Schema, Field) {
    let mut builder = SchemaBuilder::default();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false);
    let field = builder.add_text_field("words", TextOptions::default().set_indexing_options(indexing));
    (builder.build(), field)
}
