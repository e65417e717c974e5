//! A model as the kernel compiler sees it: matrices with a role and a size.

use std::fmt;
use std::path::PathBuf;

/// What a matrix is for. The names are those of the Hugging Face checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Query projection, heads * head_dim x hidden.
    QProj,
    /// Key projection, kv_heads * head_dim x hidden.
    KProj,
    /// Value projection, kv_heads * head_dim x hidden.
    VProj,
    /// Attention output projection, hidden x heads * head_dim.
    OProj,
    /// Feed-forward gate, ffn x hidden.
    GateProj,
    /// Feed-forward input, ffn x hidden.
    UpProj,
    /// Feed-forward output, hidden x ffn.
    DownProj,
    /// Token embedding, vocab x hidden; the output head too where the two are tied. Not ternary.
    Embedding,
    /// Output head of a model with untied embeddings, vocab x hidden. Not ternary.
    LmHead,
}

impl Role {
    /// Every role, in the order in which a forward pass first needs the projections; embedding and head last.
    pub const ALL: [Role; 9] = [
        Role::QProj,
        Role::KProj,
        Role::VProj,
        Role::OProj,
        Role::GateProj,
        Role::UpProj,
        Role::DownProj,
        Role::Embedding,
        Role::LmHead,
    ];

    /// The name in configs, logs and kernel listings, such as `q_proj`.
    pub const fn name(self) -> &'static str {
        match self {
            Role::QProj => "q_proj",
            Role::KProj => "k_proj",
            Role::VProj => "v_proj",
            Role::OProj => "o_proj",
            Role::GateProj => "gate_proj",
            Role::UpProj => "up_proj",
            Role::DownProj => "down_proj",
            Role::Embedding => "embedding",
            Role::LmHead => "lm_head",
        }
    }

    /// Whether the matrix holds ternary weights and occurs once in every layer; embedding and head do not.
    pub const fn is_ternary(self) -> bool {
        !matches!(self, Role::Embedding | Role::LmHead)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The function applied to the gate of the feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// Squared ReLU, max(x, 0)^2.
    Relu2,
    /// SiLU, x * sigmoid(x).
    Silu,
    /// GELU in its tanh form.
    GeluTanh,
}

impl Activation {
    /// Every activation function that a config can name.
    pub const ALL: [Activation; 3] = [Activation::Relu2, Activation::Silu, Activation::GeluTanh];

    /// The name in configs.
    pub const fn name(self) -> &'static str {
        match self {
            Activation::Relu2 => "relu2",
            Activation::Silu => "silu",
            Activation::GeluTanh => "gelu_tanh",
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One matrix of a model: rows (M, outputs) x cols (K, inputs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    /// What the matrix is for.
    pub role: Role,
    /// M, the number of outputs, from 1 to [`MAX_DIMENSION`](super::MAX_DIMENSION).
    pub rows: usize,
    /// K, the number of inputs, from 1 to [`MAX_DIMENSION`](super::MAX_DIMENSION).
    pub cols: usize,
    /// Line of the config, counted from 1, where the matrix is described.
    pub line: usize,
    /// Column of the config, counted from 1, where the description starts.
    pub column: usize,
}

/// The shapes of one model, checked: no figure contradicts another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelShapes {
    /// Short name: lower-case letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// Name for people.
    pub title: Option<String>,
    /// Where the figures come from.
    pub source: String,
    /// The config file, as it was named by the caller.
    pub file: PathBuf,
    /// Line of the config, counted from 1, where the model is named.
    pub line: usize,
    /// Column of the config, counted from 1, where the model is named.
    pub column: usize,
    /// The function applied to the gate of the feed-forward block.
    pub activation: Activation,
    /// Whether each layer has a norm before o_proj (`inner_attn_ln`) and one before down_proj
    /// (`ffn_layernorm`).
    pub sub_norms: bool,
    /// Whether the output head is the token embedding.
    pub tied: bool,
    /// Number of transformer layers.
    pub layers: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward block.
    pub ffn: usize,
    /// Number of query heads; a multiple of `kv_heads`.
    pub heads: usize,
    /// Number of key and value heads.
    pub kv_heads: usize,
    /// Channels of one head. `heads * head_dim` need not equal `hidden`.
    pub head_dim: usize,
    /// Number of rows of the embedding, in tokens.
    pub vocab: usize,
    /// Longest sequence that the model was made for, in tokens; `None` where that is not known.
    pub context: Option<usize>,
    /// The matrices in the order of [`Role::ALL`]; `lm_head` is there only if `tied` is false.
    pub matrices: Vec<Matrix>,
}

impl ModelShapes {
    /// The matrix of a role. `None` only for the [`Role::LmHead`] of a model with tied embeddings.
    pub fn matrix(&self, role: Role) -> Option<&Matrix> {
        self.matrices.iter().find(|matrix| matrix.role == role)
    }

    /// Number of ternary weights in all layers together.
    pub fn ternary_parameters(&self) -> u64 {
        self.layers as u64 * self.elements(Role::is_ternary)
    }

    /// Number of elements of all matrices together: the ternary ones, the embedding and the untied head if
    /// any.
    ///
    /// The norm vectors, below 0.2% of any model in `configs/models`, are not counted: a config does not list
    /// them.
    pub fn total_parameters(&self) -> u64 {
        self.ternary_parameters() + self.elements(|role| !role.is_ternary())
    }

    /// The different (rows, cols) of the ternary matrices, in the order in which the roles first need them.
    pub fn ternary_shapes(&self) -> Vec<(usize, usize)> {
        let mut shapes = Vec::new();
        for matrix in self.matrices.iter().filter(|matrix| matrix.role.is_ternary()) {
            let shape = (matrix.rows, matrix.cols);
            if !shapes.contains(&shape) {
                shapes.push(shape);
            }
        }
        shapes
    }

    // At most 7 * 2^48 for the limits that a config is checked against, so the products above stay below
    // 2^63.
    fn elements(&self, select: impl Fn(Role) -> bool) -> u64 {
        let selected = self.matrices.iter().filter(|matrix| select(matrix.role));
        selected.map(|matrix| matrix.rows as u64 * matrix.cols as u64).sum()
    }
}
