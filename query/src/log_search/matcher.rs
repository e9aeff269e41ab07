//! A search made ready to run: tests of single rows and texts, and the filter that the indexes answer.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Int32Type};
use trivium_storage::{Part, TokenFilter};

use super::ast::Node;
use super::columns::{ATTRIBUTES, BODY};
use super::leaf::{Leaf, LeafState};
use super::memo::{Memo, Outcome};
use super::parser;
use super::part_facts::PartFacts;
use super::plan;
use super::span_field;
use super::syntax_error::SyntaxError;
use crate::error::Error;

/// A search that was read and made ready. Immutable; threads share it and keep a [`Evaluation`] each.
#[derive(Clone, Debug)]
pub struct CompiledQuery {
    leaves: Vec<Leaf>,
    /// Tests whose conjunction is the search: first those of small columns, then the others.
    stages: [Tree; 2],
    filter: TokenFilter,
    /// Kept when the filter is better where the resources are known.
    node: Option<Node>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug)]
enum Tree {
    All,
    Leaf(usize),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

/// Makes a log search ready.
pub fn compile(query: &str) -> Result<CompiledQuery, SyntaxError> {
    let parsed = parser::parse(query)?;
    let mut compiled = compile_node(&parsed.node, query)?;
    compiled.warnings = parsed.warnings;
    Ok(compiled)
}

/// Makes a search of spans ready: a field that only spans have goes before an attribute of its name.
pub fn compile_for_spans(query: &str) -> Result<CompiledQuery, SyntaxError> {
    let parsed = parser::parse(query)?;
    let node = span_field::of_spans(parsed.node).map_err(|problem| {
        let offset = query.find(&problem.field.to_string()).unwrap_or_default();
        SyntaxError::new(query, offset, problem.message, problem.hint)
    })?;
    let mut compiled = compile_node(&node, query)?;
    compiled.warnings = parsed.warnings;
    Ok(compiled)
}

/// Makes a search of one text ready, as SQL's `matches(column, query)` needs it: tests of fields are refused, because a
/// text has none.
pub fn compile_text(query: &str) -> Result<CompiledQuery, SyntaxError> {
    let parsed = parser::parse(query)?;
    if let Some(field) = first_field(&parsed.node) {
        let message = format!("a test of the field `{field}` where only text is searched");
        let offset = query.find(':').unwrap_or_default();
        return Err(SyntaxError::new(query, offset, message, "use a condition of SQL for it, or quote the text"));
    }
    compile_node(&parsed.node, query)
}

fn compile_node(node: &Node, query: &str) -> Result<CompiledQuery, SyntaxError> {
    let mut leaves = Vec::new();
    // What a test cannot compile has lost its place in the query; the whole query is shown instead.
    let root = tree(node, &mut leaves).map_err(|error| SyntaxError::new(query, 0, error.message, error.hint))?;
    let stages = stages(root, &leaves);
    let filter = plan::token_filter(node, None);
    let node = plan::depends_on_resources(node).then(|| node.clone());
    Ok(CompiledQuery { leaves, stages, filter, node, warnings: Vec::new() })
}

fn first_field(node: &Node) -> Option<String> {
    match node {
        Node::All | Node::Text { .. } => None,
        Node::Field { field, .. } => Some(field.to_string()),
        Node::And(children) | Node::Or(children) => children.iter().find_map(first_field),
        Node::Not(child) => first_field(child),
    }
}

fn tree(node: &Node, leaves: &mut Vec<Leaf>) -> Result<Tree, SyntaxError> {
    let leaf = match node {
        Node::All => return Ok(Tree::All),
        Node::Not(child) => return Ok(Tree::Not(Box::new(tree(child, leaves)?))),
        Node::And(children) => return Ok(Tree::And(trees(children, leaves)?)),
        Node::Or(children) => return Ok(Tree::Or(trees(children, leaves)?)),
        Node::Text { scope, test } => Leaf::of_text(*scope, test)?,
        Node::Field { field, test } => Leaf::of_field(field, test)?,
    };
    leaves.push(leaf);
    Ok(Tree::Leaf(leaves.len() - 1))
}

/// The children, the cheap ones first.
fn trees(children: &[Node], leaves: &mut Vec<Leaf>) -> Result<Vec<Tree>, SyntaxError> {
    let mut trees = children.iter().map(|child| tree(child, leaves)).collect::<Result<Vec<_>, _>>()?;
    trees.sort_by_key(|tree| tree.cost(leaves));
    Ok(trees)
}

/// Splits a conjunction so that the large columns are read for the rows only that pass the tests of the small ones.
fn stages(root: Tree, leaves: &[Leaf]) -> [Tree; 2] {
    let children = match root {
        Tree::And(children) => children,
        other => vec![other],
    };
    let (large, small): (Vec<Tree>, Vec<Tree>) = children.into_iter().partition(|tree| {
        let mut columns = BTreeSet::new();
        tree.columns(leaves, &mut columns);
        columns.contains(BODY) || columns.contains(ATTRIBUTES)
    });
    [conjunction(small), conjunction(large)]
}

fn conjunction(mut trees: Vec<Tree>) -> Tree {
    match (trees.len(), trees.pop()) {
        (_, None) => Tree::All,
        (1, Some(only)) => only,
        (_, Some(last)) => {
            trees.push(last);
            Tree::And(trees)
        }
    }
}

impl Tree {
    fn cost(&self, leaves: &[Leaf]) -> u32 {
        match self {
            Self::All => 0,
            Self::Leaf(index) => leaves.get(*index).map_or(0, Leaf::cost),
            Self::And(children) | Self::Or(children) => {
                children.iter().fold(1, |sum, child| child.cost(leaves).saturating_add(sum))
            }
            Self::Not(child) => child.cost(leaves),
        }
    }

    fn columns(&self, leaves: &[Leaf], columns: &mut BTreeSet<&'static str>) {
        match self {
            Self::All => {}
            Self::Leaf(index) => leaves.iter().skip(*index).take(1).for_each(|leaf| leaf.columns(columns)),
            Self::And(children) | Self::Or(children) => {
                children.iter().for_each(|child| child.columns(leaves, columns))
            }
            Self::Not(child) => child.columns(leaves, columns),
        }
    }
}

impl CompiledQuery {
    /// What the indexes can answer: a superset of the rows that match.
    pub fn token_filter(&self) -> &TokenFilter {
        &self.filter
    }

    /// The same for a part, whose resources tell which plain keys can only be attributes of records.
    pub(super) fn token_filter_of(&self, part: &Part, facts: &PartFacts) -> Result<TokenFilter, Error> {
        match &self.node {
            Some(node) => Ok(plan::token_filter(node, facts.resources(part)?.as_deref())),
            None => Ok(self.filter.clone()),
        }
    }

    /// What the writer may have meant differently.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether every record matches.
    pub(super) fn matches_everything(&self) -> bool {
        matches!(self.stages, [Tree::All, Tree::All])
    }

    /// All columns that [`Evaluation::matching`] reads.
    pub fn columns(&self) -> BTreeSet<&'static str> {
        (0..self.stages.len()).flat_map(|stage| self.stage_columns(stage)).collect()
    }

    /// The columns that a stage reads; empty when it has no test.
    pub(super) fn stage_columns(&self, stage: usize) -> BTreeSet<&'static str> {
        let mut columns = BTreeSet::new();
        if let Some(tree) = self.stages.get(stage) {
            tree.columns(&self.leaves, &mut columns);
        }
        columns
    }

    /// Whether one text matches: words and phrases by tokens, regular expressions anywhere. For [`compile_text`]; a test
    /// of a field is never true of a text.
    pub fn matches_text(&self, text: &str) -> bool {
        self.stages.iter().all(|tree| self.tree_matches_text(tree, text))
    }

    fn tree_matches_text(&self, tree: &Tree, text: &str) -> bool {
        match tree {
            Tree::All => true,
            Tree::And(children) => children.iter().all(|child| self.tree_matches_text(child, text)),
            Tree::Or(children) => children.iter().any(|child| self.tree_matches_text(child, text)),
            Tree::Not(child) => !self.tree_matches_text(child, text),
            Tree::Leaf(index) => match self.leaves.get(*index) {
                Some(Leaf::Text { matcher, .. }) => matcher.matches(text),
                _ => false,
            },
        }
    }

    /// Whether each text of an array matches; null where the array is null. Each entry of a dictionary is tested once.
    pub fn matches_array(&self, array: &ArrayRef) -> Result<BooleanArray, Error> {
        let test = |text: &str| self.matches_text(text);
        let matches = match array.data_type() {
            DataType::Utf8 => array.as_string::<i32>().iter().map(|text| text.map(test)).collect(),
            DataType::LargeUtf8 => array.as_string::<i64>().iter().map(|text| text.map(test)).collect(),
            DataType::Utf8View => array.as_string_view().iter().map(|text| text.map(test)).collect(),
            DataType::Dictionary(key, value) if **key == DataType::Int32 && **value == DataType::Utf8 => {
                let column = array.as_dictionary::<Int32Type>();
                let mut memo = Memo::default();
                let mut outcome = memo.outcomes(column, |text| test(text).into());
                let cell = |row| (column.is_valid(row)).then(|| outcome(row) == Outcome::Yes);
                (0..column.len()).map(cell).collect()
            }
            other => return Err(Error::invalid(format!("cannot search text in a column of type {other}"))),
        };
        Ok(matches)
    }
}

/// Runs a search over batches, one after the other, and remembers what it learned about dictionaries. One per thread.
#[derive(Debug)]
pub struct Evaluation<'query> {
    query: &'query CompiledQuery,
    states: Vec<LeafState>,
}

impl<'query> Evaluation<'query> {
    /// A fresh run.
    pub fn new(query: &'query CompiledQuery) -> Self {
        let states = query.leaves.iter().map(|_| LeafState::default()).collect();
        Self { query, states }
    }

    /// The rows of a batch that match. The batch has at least the columns that the search needs.
    pub fn matching(&mut self, batch: &RecordBatch) -> Result<BooleanBuffer, Error> {
        self.matching_of(batch, &BooleanBuffer::new_set(batch.num_rows()))
    }

    /// The rows of `selection` that match.
    pub(super) fn matching_of(
        &mut self,
        batch: &RecordBatch,
        selection: &BooleanBuffer,
    ) -> Result<BooleanBuffer, Error> {
        let mut selection = selection.clone();
        for stage in 0..self.query.stages.len() {
            selection = self.matching_stage(stage, batch, &selection)?;
        }
        Ok(selection)
    }

    /// The rows of `selection` that pass the tests of a stage.
    pub(super) fn matching_stage(
        &mut self,
        stage: usize,
        batch: &RecordBatch,
        selection: &BooleanBuffer,
    ) -> Result<BooleanBuffer, Error> {
        let query = self.query;
        match query.stages.get(stage) {
            Some(tree) => self.matching_tree(tree, batch, selection),
            None => Ok(selection.clone()),
        }
    }

    fn matching_tree(
        &mut self,
        tree: &Tree,
        batch: &RecordBatch,
        selection: &BooleanBuffer,
    ) -> Result<BooleanBuffer, Error> {
        match tree {
            Tree::All => Ok(selection.clone()),
            Tree::Leaf(index) => match (self.query.leaves.get(*index), self.states.get_mut(*index)) {
                (Some(leaf), Some(state)) => leaf.matching(batch, selection, state),
                _ => Err(Error::Internal("a search refers to a test that it does not have".into())),
            },
            Tree::Not(child) => Ok(selection & &!&self.matching_tree(child, batch, selection)?),
            Tree::And(children) => {
                let mut left = selection.clone();
                for child in children {
                    if left.count_set_bits() == 0 {
                        break;
                    }
                    left = self.matching_tree(child, batch, &left)?;
                }
                Ok(left)
            }
            Tree::Or(children) => {
                let mut open = selection.clone();
                for child in children {
                    if open.count_set_bits() == 0 {
                        break;
                    }
                    open = &open & &!&self.matching_tree(child, batch, &open)?;
                }
                Ok(selection & &!&open)
            }
        }
    }

    /// What the indexes can answer.
    pub(super) fn token_filter(&self) -> &'query TokenFilter {
        &self.query.filter
    }

    /// All columns that the tests read.
    pub(super) fn columns(&self) -> BTreeSet<&'static str> {
        self.query.columns()
    }

    /// The attribute keys of the search that no record had so far.
    pub(super) fn unseen_keys(&self) -> Vec<&'query str> {
        let unseen = self.query.leaves.iter().zip(&self.states).filter(|(_, state)| !state.key_seen);
        unseen.filter_map(|(leaf, _)| leaf.attribute_key()).collect()
    }
}
